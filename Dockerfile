# Stages in the order in which they change: system, what serving needs, torch, the model, the code.
# Options are those of embedding/settings.py; a Space gives its variables as build arguments too.

FROM python:3.11-slim AS base
RUN useradd --create-home --uid 1000 user
WORKDIR /app
# A torch in /opt/torch, where there is one, comes before the Python that lacks it.
ENV HF_HOME=/home/user/.cache/huggingface PATH=/opt/torch/bin:$PATH PYTHONUNBUFFERED=1
COPY embedding/requirements.txt embedding/
RUN pip install --no-cache-dir -r embedding/requirements.txt

FROM base AS torch
# Where pip finds torch without CUDA. Empty: the default index alone.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements.txt .
RUN python -m venv --system-site-packages /opt/torch && \
    pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r requirements.txt

# With the build secret HF_TOKEN, or a MODEL_ID that is public, the model is prepared here, and torch stays behind;
# else torch goes along, and the model is fetched and prepared at the first start. With ENGINE=torch it goes along anyway.
FROM torch AS model
COPY embedding/__init__.py embedding/atomic.py embedding/settings.py embedding/
COPY embedding/telemetry/__init__.py embedding/telemetry/logs.py embedding/telemetry/
COPY embedding/model embedding/model
ARG MODEL_ID
ARG MODEL_REVISION
ARG ENGINE=onnx
ARG PRECISION
ARG HF_ENDPOINT=https://huggingface.co
RUN --mount=type=secret,id=HF_TOKEN,required=false \
    mkdir -p "$HF_HOME" && \
    if [ -s /run/secrets/HF_TOKEN ] || [ -n "$MODEL_ID" ]; then \
        HF_TOKEN="$(cat /run/secrets/HF_TOKEN 2>/dev/null)" python -m embedding.model && \
        if [ "$ENGINE" != torch ]; then rm -rf "$HF_HOME/hub" "$HF_HOME/xet" /opt/torch/*; fi; \
    fi

FROM base
COPY --from=model /opt/torch /opt/torch
COPY --from=model --chown=1000:1000 /home/user/.cache /home/user/.cache
COPY embedding embedding
RUN python -m compileall -q embedding
ARG MODEL_ID
ARG MODEL_REVISION
ARG ENGINE=onnx
ARG PRECISION
ENV MODEL_ID=$MODEL_ID MODEL_REVISION=$MODEL_REVISION ENGINE=$ENGINE PRECISION=$PRECISION
USER user
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=20m \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 7860), timeout=4); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
# A model that is not in the image goes to a Space's persistent storage, where it has one.
CMD ["sh", "-c", "if [ -w /data ] && [ -z \"$(ls -A \"$HF_HOME\" 2>/dev/null)\" ]; then export HF_HOME=/data/huggingface; fi; exec python -m embedding"]
