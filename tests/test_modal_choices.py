"""Each variable of a deploy: what it takes, what it refuses in one line, and that a choice is not lost in silence."""

from pathlib import Path

import pytest

from embedding.on_modal.choices import ChoiceError, Choices
from embedding.on_modal.given import describe, given_here, read_file


@pytest.mark.parametrize(
    ("variables", "field", "value"),
    [
        ({}, "cpu_cores", 2),
        ({"CPU_CORES": "0.5"}, "cpu_cores", 0.5),
        ({"CPU_CORES": "0.5"}, "threads", 1),
        ({"CPU_CORES": "4"}, "threads", 4),
        ({"CPU_CORES": "4", "THREADS": "2"}, "threads", 2),
        ({"THREADS": "auto"}, "threads", 2),
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


def test_the_service_gives_up_before_modal_does() -> None:
    for seconds in (10, 30, 120, 150):
        service = Choices.read({"REQUEST_SECONDS": str(seconds)}).service

        assert float(service["REQUEST_TIMEOUT"]) < seconds
        assert int(service["MAX_CONCURRENT_REQUESTS"]) == 64


def test_a_model_of_this_machine_is_uploaded_and_goes_by_its_place_in_the_image(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "modules.json").write_text("[]")

    choices = Choices.read({"MODEL_ID": str(tmp_path / "mine")})

    assert choices.local_model == tmp_path / "mine"
    assert choices.model["MODEL_ID"] == "/models/mine"


@pytest.mark.parametrize("name", ["./no-such-folder", "/no/such/folder", "~/no-such-folder", "a/b/c"])
def test_a_path_to_no_model_is_refused(name: str) -> None:
    with pytest.raises(ChoiceError, match=f"MODEL_ID is '{name}', and there is no such folder"):
        _ = Choices.read({"MODEL_ID": name}).local_model


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ChoiceError, match="a folder without a SentenceTransformer's"):
        _ = Choices.read({"MODEL_ID": str(tmp_path)}).local_model


def test_choices_are_kept_in_a_file_and_the_environment_wins(tmp_path: Path) -> None:
    file = tmp_path / "modal.env"
    file.write_text("# for the papers\nCPU_CORES=4\nexport gpu='L4'\n\nMAX_CONTAINERS=50\n")

    given = given_here(file, {"MAX_CONTAINERS": "30", "PATH": "/bin", "SNAPSHOT": ""})

    assert given == {"CPU_CORES": "4", "GPU": "L4", "MAX_CONTAINERS": "30"}


def test_without_a_file_only_the_environment_counts(tmp_path: Path) -> None:
    assert given_here(tmp_path / "modal.env", {"GPU": "L4"}) == {"GPU": "L4"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("CPU_CORE=4", "modal.env, line 1: CPU_CORE is no variable. Did you mean CPU_CORES?"),
        ("CPU_CORES", "modal.env, line 1: CPU_CORES is no variable"),
        ("auth_token=abc", "modal.env, line 1: AUTH_TOKEN is a secret"),
        ("HF_TOKEN=hf_abc", "modal.env, line 1: HF_TOKEN is a secret"),
    ],
)
def test_a_slip_in_the_file_is_named_by_its_line(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "modal.env").write_text(line + "\n")

    with pytest.raises(ChoiceError) as refused:
        read_file(tmp_path / "modal.env")

    assert said in str(refused.value)
    assert "abc" not in str(refused.value)


def test_the_deploy_says_what_the_next_one_keeps_and_what_it_would_lose() -> None:
    told = describe({"GPU": "L4", "CPU_CORES": "4", "LABEL": "x"}, {"GPU": "L4", "CPU_CORES": "2"}, "papers")

    assert told.splitlines() == [
        "papers: GPU=L4 (from modal.env)",
        "papers: CPU_CORES=4, LABEL=x (from the environment: write it to modal.env, or the next deploy lacks it)",
        "papers: everything else by default",
    ]
