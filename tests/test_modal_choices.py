"""Each variable of a deploy: what it takes, what it refuses in one line, and that a choice is not lost in silence."""

from pathlib import Path

import pytest

from embedding.on_modal.choices import ChoiceError, Choices
from embedding.on_modal.given import describe, given_here, read_file
from embedding.on_modal.local_model import is_hidden
from embedding.on_modal.variables import megabytes
from embedding.settings import Settings


@pytest.mark.parametrize(
    ("variables", "field", "value"),
    [
        ({}, "cpu_cores", 2),
        ({"CPU_CORES": "0.5"}, "cpu_cores", 0.5),
        ({"CPU_CORES": "0.5"}, "threads", 1),
        ({"CPU_CORES": "4"}, "threads", 4),
        ({"CPU_CORES": "4", "THREADS": "2"}, "threads", 2),
        ({"THREADS": "auto"}, "threads", 2),
        ({"ENGINE": "auto"}, "engine", "onnx"),
        ({"ENGINE": "Auto", "GPU": "L4", "PRECISION": "auto"}, "precision", "bfloat16"),
        ({"PRECISION": "auto"}, "precision", None),
        ({"SNAPSHOT": "true"}, "snapshot", True),
        ({"SNAPSHOT": "0"}, "snapshot", False),
        ({}, "snapshot", True),
        ({"GPU": "L4"}, "snapshot", False),
        ({"GPU": "l4"}, "gpu", ("L4",)),
        ({"GPU": "L4, A10G"}, "gpu", ("L4", "A10")),
        ({"GPU": "H100:1"}, "gpu", ("H100",)),
        ({"GPU": "L4"}, "precision", "bfloat16"),
        ({"GPU": "T4"}, "precision", "float32"),
        ({"GPU": "L4,T4"}, "precision", "float32"),
        ({}, "precision", None),
        ({"GPU": "L4"}, "corpus_containers", 10),
        ({"MIN_CONTAINERS": ""}, "min_containers", 0),
        ({"APP_NAME": "papers"}, "output_volume", "papers-vectors"),
        ({"APP_NAME": "papers", "OUTPUT_VOLUME": "mine"}, "output_volume", "mine"),
        ({"REGION": "us-east, eu"}, "region", ("us-east", "eu")),
        ({"CUSTOM_DOMAIN": "embed.example.com"}, "custom_domain", ("embed.example.com",)),
        ({"PROXY_AUTH": "yes"}, "proxy_auth", True),
        ({"GPU": "none"}, "gpu", ()),
        ({"GPU": "L4,l4"}, "gpu", ("L4",)),
        ({"BUCKET": "a" * 63}, "bucket", "a" * 63),
        ({"OUTPUT_VOLUME": "v" * 59}, "board", "v" * 59 + "-jobs"),
        ({"MAX_CONTAINERS": " 0050 "}, "max_containers", 50),
    ],
)
def test_a_choice_is_read(variables: dict[str, str], field: str, value: object) -> None:
    assert getattr(Choices.read(variables), field) == value


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CPU_CORES": "two"}, "CPU_CORES is 'two', and must be physical cores, from 0.125 to 64"),
        ({"CPU_CORES": "0"}, "CPU_CORES is '0'"),
        ({"CPU_CORES": "nan"}, "CPU_CORES is 'nan'"),
        ({"CPU_CORES": "-1"}, "CPU_CORES is '-1'"),
        ({"CPU_CORES": "1_0"}, "CPU_CORES is '1_0'"),
        ({"CPU_CORES": "٣"}, "CPU_CORES is '٣'"),
        ({"CPU_CORES": "2,5"}, "CPU_CORES is '2,5'"),
        ({"CPU_CORES": "1e1"}, "CPU_CORES is '1e1'"),
        ({"MAX_CONTAINERS": "9" * 5000}, "must be a whole number of 1 or more, of 9 digits at most"),
        ({"MAX_CONTAINERS": "²"}, "MAX_CONTAINERS is '²'"),
        ({"MEMORY_MB": "1000001"}, "MEMORY_MB is '1000001', and must be a whole number from 256 to 1000000"),
        ({"MAX_REQUESTS": "999999999"}, "MAX_REQUESTS, MAX_BODY_BYTES and CACHE_SIZE may take"),
        ({"CACHE_SIZE": "2GiB", "MEMORY_LIMIT_MB": "2048"}, "CACHE_SIZE is 2GiB, and must be below MEMORY_LIMIT_MB"),
        ({"CACHE_SIZE": "64i"}, "CACHE_SIZE is '64i'"),
        ({"LABEL": "2026"}, "LABEL is '2026'"),
        ({"APP_NAME": "ap-" + "a" * 22}, "APP_NAME is 'ap-"),
        (
            {"CORS_ORIGINS": "example.org"},
            "CORS_ORIGINS is 'example.org', and must be origins such as https://example.org",
        ),
        ({"CORS_ORIGINS": "https://a.org/page"}, "without a path"),
        ({"SERVED_MODEL_NAME": "a\nb"}, "SERVED_MODEL_NAME is 'a\\nb', and must be one line of text"),
        ({"MODEL_REVISION": "main\x00"}, "MODEL_REVISION is"),
        ({"INPUT_VOLUME": "mine", "OUTPUT_VOLUME": "mine"}, "INPUT_VOLUME and OUTPUT_VOLUME are both 'mine'"),
        ({"BUCKET": "My Bucket"}, "BUCKET is 'My Bucket'"),
        ({"THREADS": "0"}, "THREADS is '0'"),
        ({"MEMORY_MB": "1.5"}, "MEMORY_MB is '1.5'"),
        ({"MEMORY_MB": "4096", "MEMORY_LIMIT_MB": "2048"}, "MEMORY_LIMIT_MB is 2048, and must not be below MEMORY_MB"),
        ({"SNAPSHOT": "maybe"}, "SNAPSHOT is 'maybe', and must be 1 or 0"),
        ({"MAX_REQUESTS": "8"}, "MAX_REQUESTS is 8, and must not be below TARGET_REQUESTS, 16"),
        ({"TARGET_REQUESTS": "65"}, "must not be below TARGET_REQUESTS, 65"),
        ({"MIN_CONTAINERS": "21"}, "MIN_CONTAINERS is 21, and must not be above MAX_CONTAINERS, 20"),
        ({"MAX_CONTAINERS": "0"}, "MAX_CONTAINERS is '0'"),
        ({"SCALEDOWN_SECONDS": "1"}, "SCALEDOWN_SECONDS is '1', and must be a whole number from 2 to 3600"),
        ({"SCALEDOWN_SECONDS": "3601"}, "SCALEDOWN_SECONDS"),
        ({"REQUEST_SECONDS": "151"}, "REQUEST_SECONDS is '151', and must be a whole number from 10 to 150"),
        ({"REQUEST_TIMEOUT": "116"}, "REQUEST_TIMEOUT is 116, and must be 5 s below REQUEST_SECONDS, 120"),
        ({"REQUEST_TIMEOUT": "soon"}, "REQUEST_TIMEOUT is 'soon'"),
        ({"MAX_CONCURRENT_REQUESTS": "32"}, "MAX_CONCURRENT_REQUESTS is 32, and must not be below MAX_REQUESTS, 64"),
        ({"GPU": "A100-81GB"}, "GPU is 'A100-81GB', and must be none, or one of T4, L4"),
        ({"GPU": "L4:2"}, "GPU is 'L4:2', and must be one card a container"),
        ({"GPU": "L4,"}, "GPU is 'L4,'"),
        ({"GPU": "T4", "PRECISION": "bfloat16"}, "PRECISION is 'bfloat16', which a T4 does not have"),
        ({"GPU": "L4", "ENGINE": "onnx"}, "ENGINE is 'onnx', which computes on the CPU"),
        ({"ENGINE": "tensorrt"}, "ENGINE is 'tensorrt', and must be one of onnx, torch"),
        ({"PRECISION": "float16"}, "PRECISION is 'float16', and must be one of int8, float32, bfloat16"),
        ({"PRECISION": "bfloat16"}, "which the onnx engine does not have"),
        ({"ENGINE": "torch", "PRECISION": "int8"}, "which the torch engine does not have"),
        ({"LABEL": "My Label"}, "LABEL is 'My Label'"),
        ({"CUSTOM_DOMAIN": "https://example.com/"}, "CUSTOM_DOMAIN"),
        ({"REGION": "Virginia"}, "REGION is 'Virginia'"),
        ({"ROUTING_REGION": "eu"}, "ROUTING_REGION is where requests enter with SERVER=1"),
        ({"APP_NAME": "my app"}, "APP_NAME is 'my app'"),
        ({"BUCKET_SECRET": "keys"}, "BUCKET is not set"),
        ({"MAX_CLIENT_BATCH": "many"}, "MAX_CLIENT_BATCH is 'many'"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL is 'loud'"),
        ({"CACHE_SIZE": "some"}, "CACHE_SIZE is 'some'"),
    ],
)
def test_a_choice_that_can_not_be_deployed_is_named_in_one_line(variables: dict[str, str], said: str) -> None:
    with pytest.raises(ChoiceError) as refused:
        Choices.read(variables)

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_limit_of_memory_grows_with_what_may_be_held_beyond_what_was_measured() -> None:
    def limit(**variables: str) -> int:
        return Choices.read(variables).memory_limit_mb or 0

    assert limit(CACHE_SIZE="1GB") == limit() + 936
    assert limit(MAX_REQUESTS="128") > limit(MAX_REQUESTS="64") == limit(MAX_REQUESTS="16") == limit()
    assert limit(MAX_BODY_BYTES="20000000") > limit(MAX_REQUESTS="128")
    assert limit(CACHE_SIZE="1GB", MEMORY_LIMIT_MB="2048") == 2048


@pytest.mark.parametrize(
    ("name", "given", "carried"),
    [
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("DEFAULT_TASK", "Document", "document"),
        ("DEFAULT_TASK", "None", "none"),
        ("DEFAULT_TASK", "Retrieval-document", "Retrieval-document"),
        ("CORS_ORIGINS", "https://a.org, *", "https://a.org, *"),
        ("CACHE_SIZE", "64 MB", "64 MB"),
    ],
)
def test_an_option_of_the_service_is_carried_as_the_service_reads_it(name: str, given: str, carried: str) -> None:
    assert Choices.read({name: given}).service[name] == carried


@pytest.mark.parametrize("size", ["0", "64000000", "64MB", "1.5 GiB", "64 kb", "2g", "7b"])
def test_a_size_is_read_as_the_service_reads_it(size: str) -> None:
    Choices.read({"CACHE_SIZE": size, "MEMORY_LIMIT_MB": "4096"})

    assert megabytes(size) == pytest.approx(Settings.read(cache_size=size).cache_size / 1e6)


def test_the_service_gives_up_before_modal_does() -> None:
    for seconds in (10, 30, 120, 150):
        service = Choices.read({"REQUEST_SECONDS": str(seconds)}).service

        assert float(service["REQUEST_TIMEOUT"]) < seconds
        assert int(service["MAX_CONCURRENT_REQUESTS"]) == 64


def test_a_server_has_the_time_to_stop_that_the_service_takes() -> None:
    assert Choices.read({}).grace_seconds > 30
    assert Choices.read({"GRACE_PERIOD": "10"}).grace_seconds == 15


def test_a_model_of_this_machine_is_uploaded_and_goes_by_its_place_in_the_image(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "modules.json").write_text("[]")

    choices = Choices.read({"MODEL_ID": str(tmp_path / "mine")})

    assert choices.local_model == tmp_path / "mine"
    assert choices.model["MODEL_ID"] == "/models/mine"


@pytest.mark.parametrize(
    "name",
    ["./no-such-folder", "/no/such/folder", "~/no-such-folder", "a/b/c", "me/my model", "https://hf.co/a", "-x", "me/"],
)
def test_a_path_to_no_model_is_refused(name: str) -> None:
    with pytest.raises(ChoiceError, match=f"MODEL_ID is '{name}', and there is no such folder"):
        _ = Choices.read({"MODEL_ID": name}).local_model


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": 1, "counts": {}}')  # that of a folder of vectors

    with pytest.raises(ChoiceError, match="a folder without a SentenceTransformer's"):
        _ = Choices.read({"MODEL_ID": str(tmp_path)}).local_model


def test_a_file_and_a_link_to_nothing_are_no_ids_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    monkeypatch.chdir(tmp_path)

    for name, said in (("model.onnx", "no folder"), ("gone", "a link to nothing")):
        with pytest.raises(ChoiceError, match=f"MODEL_ID is '{name}', {said}"):
            _ = Choices.read({"MODEL_ID": name}).local_model


def test_a_model_that_lacks_a_file_is_refused_before_it_is_uploaded(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "blobs" / "gone")

    with pytest.raises(ChoiceError, match=r"a folder whose model\.safetensors is a link to nothing"):
        _ = Choices.read({"MODEL_ID": str(tmp_path)}).local_model


def test_a_model_has_a_place_that_a_dockerfile_can_name(tmp_path: Path) -> None:
    (tmp_path / "my (best) model é").mkdir()
    (tmp_path / "my (best) model é" / "modules.json").write_text("[]")

    choices = Choices.read({"MODEL_ID": str(tmp_path / "my (best) model é")})

    assert choices.model["MODEL_ID"] == "/models/my-best-model-"


@pytest.mark.parametrize(("path", "hidden"), [(".git/config", True), ("1_Pooling/.env", True), ("model.onnx", False)])
def test_hidden_files_of_a_model_are_not_uploaded(path: str, hidden: bool) -> None:
    assert is_hidden(Path(path)) is hidden


def test_choices_are_kept_in_a_file_and_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / "modal.env"
    file.write_text("# for the papers\nCPU_CORES=4\nexport gpu='L4'\n\nMAX_CONTAINERS=50\n")

    given = given_here(file, {"MAX_CONTAINERS": "30", "PATH": "/bin", "SNAPSHOT": ""})

    assert given == {"CPU_CORES": "4", "GPU": "L4", "MAX_CONTAINERS": "30"}


@pytest.mark.parametrize(
    ("content", "variables"),
    [
        (b"\xef\xbb\xbfCPU_CORES=4\r\nGPU=L4\r\n", {"CPU_CORES": "4", "GPU": "L4"}),
        (b"CPU_CORES = 4 # four\n\texport\tLABEL='x'\n", {"CPU_CORES": "4", "LABEL": "x"}),
        (b'GPU="L4, A10" # fast', {"GPU": "L4, A10"}),
        (b"CORS_ORIGINS=https://a/#b\n", {"CORS_ORIGINS": "https://a/#b"}),
        (b"CORS_ORIGINS='a # b'\n", {"CORS_ORIGINS": "a # b"}),
        (b"SERVED_MODEL_NAME=Bob's \xc3\xa9\n", {"SERVED_MODEL_NAME": "Bob's é"}),
        (b"CPU_CORES=\n#GPU=L4\nLABEL=#\n", {}),
    ],
)
def test_the_file_is_read_as_a_shell_reads_it(tmp_path: Path, content: bytes, variables: dict[str, str]) -> None:
    (tmp_path / "modal.env").write_bytes(content)

    assert read_file(tmp_path / "modal.env") == variables


def test_without_a_file_only_the_environment_counts(tmp_path: Path) -> None:
    assert given_here(tmp_path / "modal.env", {"GPU": "L4"}) == {"GPU": "L4"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("CPU_CORE=4", "modal.env, line 1: CPU_CORE is no variable. Did you mean CPU_CORES?"),
        ("CPU_CORES", "modal.env, line 1: CPU_CORES is no variable"),
        ("auth_token=abc", "modal.env, line 1: AUTH_TOKEN is a secret"),
        ("HF_TOKEN=hf_abc", "modal.env, line 1: HF_TOKEN is a secret"),
        ("export hf_token = hf_abc", "modal.env, line 1: HF_TOKEN is a secret"),
        ("auth_token: abc", "modal.env, line 1: AUTH_TOKEN is a secret"),
        ("hf_abc", "modal.env, line 1 is not of the form NAME=VALUE"),
        ("set HF_TOKEN=hf_abc", "modal.env, line 1 is not of the form NAME=VALUE"),
        ("LABEL='abc", "modal.env, line 1: LABEL has a quote that does not end"),
        ("LABEL='abc\"", "modal.env, line 1: LABEL has a quote that does not end"),
        ("GPU=L4\ngpu=A10", "modal.env, line 2: GPU is there twice"),
    ],
)
def test_a_slip_in_the_file_is_named_by_its_line(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "modal.env").write_text(line + "\n")

    with pytest.raises(ChoiceError) as refused:
        read_file(tmp_path / "modal.env")

    assert said in str(refused.value)
    assert "abc" not in str(refused.value).lower()


def test_a_file_that_can_not_be_read_is_no_file_without_choices(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "utf16").write_bytes("CPU_CORES=4".encode("utf-16"))

    for name in ("folder", "utf16"):
        with pytest.raises(ChoiceError, match=f"{name} can't be read"):
            read_file(tmp_path / name)


def test_the_deploy_says_what_the_next_one_keeps_and_what_it_would_lose() -> None:
    told = describe({"GPU": "L4", "CPU_CORES": "4", "LABEL": "x"}, {"GPU": "L4", "CPU_CORES": "2"}, "papers")

    assert told.splitlines() == [
        "papers: GPU=L4 (from modal.env)",
        "papers: CPU_CORES=4, LABEL=x (from the environment: write it to modal.env, or the next deploy lacks it)",
        "papers: everything else by default",
    ]
