FROM python:3.11-slim

# Where pip finds torch without CUDA. Empty: the default index alone.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

RUN useradd --create-home --uid 1000 user
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r requirements.txt
COPY embedding embedding

USER user
ENV HF_HOME=/home/user/.cache/huggingface PYTHONUNBUFFERED=1

# With the build secret HF_TOKEN the weights go into the image; without it they are fetched at start.
# The options are those of embedding/settings.py; a Space gives its variables as build arguments.
ARG MODEL_ID
ARG MODEL_REVISION
ENV MODEL_ID=$MODEL_ID MODEL_REVISION=$MODEL_REVISION
RUN --mount=type=secret,id=HF_TOKEN,mode=0444,required=false \
    if [ -s /run/secrets/HF_TOKEN ]; then HF_TOKEN="$(cat /run/secrets/HF_TOKEN)" python -m embedding download; fi

EXPOSE 7860
CMD ["python", "-m", "embedding"]
