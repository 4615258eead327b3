from pathlib import Path

import pytest

from sam_backend.settings import ENVIRONMENT, RENAMED, Settings, SettingsError


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_env({}) == Settings()


def test_every_variable_reaches_its_field() -> None:
    environ = {
        "SAM_MODEL": "classical",
        "SAM_DEVICE": "cuda:1",
        "SAM_DTYPE": "bfloat16",
        "SAM_RUNTIME": "torch",
        "SAM_WEIGHTS_DIR": "/somewhere/weights",
        "SAM_CONVERTED_DIR": "/somewhere/converted",
        "SAM_WEIGHTS_MIRROR": "https://mirror.example.org/weights",
        "SAM_OFFLINE": "1",
        "HF_TOKEN": "hf_abc",
        "SAM_MODELS": "sam_b, sam_l,sam_b",
        "SAM_MODELS_MIB": "5000",
        "SAM_MIN_HOLE_AREA": "30",
        "SAM_MIN_REGION_AREA": "20",
        "SAM_KEEP_CLICKED_REGION": "on",
        "SAM_POLYGON_TOLERANCE": "2.5",
        "SAM_POLYGON_PARTS": "bridges",
        "SAM_EACH_POINT_AN_OBJECT": "yes",
        "SAM_REFINE_REGIONS": "yes",
        "LABEL_STUDIO_URL": "https://example.org/ls/",
        "LABEL_STUDIO_API_KEY": "key",
        "SAM_FETCH_TIMEOUT_S": "2.5",
        "SAM_MAX_IMAGE_MIB": "7",
        "SAM_MAX_IMAGE_MEGAPIXELS": "8",
        "SAM_DECODE_MEMORY_MIB": "900",
        "SAM_MAX_BODY_MIB": "9",
        "SAM_EMBEDDING_CACHE_MIB": "10",
        "SAM_EMBEDDINGS_DIR": "/somewhere/embeddings",
        "SAM_EMBEDDINGS_MIB": "11",
        "SAM_ALLOW_PRIVATE_ADDRESSES": "yes",
        "SAM_IMAGE_CHECK_S": "2",
        "SAM_MAX_PROMPTS": "12",
        "SAM_ZOOM": "off",
        "SAM_PREFETCH": "off",
        "SAM_PREFETCH_NEXT": "5",
        "SAM_MODEL_WAIT_S": "3",
        "SAM_BASIC_AUTH_USER": "u",
        "SAM_BASIC_AUTH_PASSWORD": "p",
        "SAM_API_TOKEN": "t",
        "SAM_ALLOWED_HOSTS": "sam.example.org",
        "SAM_DETECTOR": "yolov8n",
        "SAM_TEXT_DETECTOR": "owl",
        "SAM_PREANNOTATE_ON_IMPORT": "true",
        "SAM_BATCH_PREDICT_TIMEOUT_S": "50",
        "SAM_TASK_OPEN_TIMEOUT_S": "1.5",
        "SAM_RUNS_DIR": "/somewhere/runs",
        "SAM_THREADS": "4",
        "SAM_MAX_WAITING": "12",
        "SAM_MAX_CONNECTIONS": "99",
        "SAM_READ_TIMEOUT_S": "7.5",
        "SAM_LOG_LEVEL": "debug",
        "SAM_LOG_FORMAT": "JSON",
    }

    settings = Settings.from_env(environ)

    assert environ.keys() == {variable for variable, _ in ENVIRONMENT.values()}
    assert settings == Settings(
        model="classical",
        models=("sam_b", "sam_l"),
        models_mib=5000,
        device="cuda:1",
        dtype="bfloat16",
        runtime="torch",
        weights_dir=Path("/somewhere/weights"),
        converted_dir=Path("/somewhere/converted"),
        weights_mirror="https://mirror.example.org/weights",
        offline=True,
        hugging_face_token="hf_abc",
        min_hole_area=30,
        min_region_area=20,
        keep_clicked_region=True,
        polygon_tolerance=2.5,
        polygon_parts="bridges",
        each_point_an_object=True,
        refine_regions=True,
        label_studio_url="https://example.org/ls",
        label_studio_api_key="key",
        fetch_timeout_s=2.5,
        max_image_mib=7,
        max_image_megapixels=8,
        decode_memory_mib=900,
        max_body_mib=9,
        embedding_cache_mib=10,
        embeddings_dir=Path("/somewhere/embeddings"),
        embeddings_mib=11,
        allow_private_addresses=True,
        image_check_s=2.0,
        max_prompts=12,
        zoom=False,
        prefetch=False,
        prefetch_next=5,
        model_wait_s=3.0,
        basic_auth_user="u",
        basic_auth_password="p",
        api_token="t",
        allowed_hosts=("sam.example.org",),
        detector="yolov8n",
        text_detector="owl",
        preannotate_on_import=True,
        batch_predict_timeout_s=50.0,
        task_open_timeout_s=1.5,
        runs_dir=Path("/somewhere/runs"),
        threads=4,
        max_waiting=12,
        max_connections=99,
        read_timeout_s=7.5,
        log_level="DEBUG",
        log_format="json",
    )


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("SAM_FETCH_TIMEOUT_S", "soon", "SAM_FETCH_TIMEOUT_S='soon' is not a number"),
        ("SAM_FETCH_TIMEOUT_S", "nan", "SAM_FETCH_TIMEOUT_S='nan' is not between"),
        ("SAM_EMBEDDING_CACHE_MIB", "1.5", "SAM_EMBEDDING_CACHE_MIB='1.5' is not a whole number"),
        ("SAM_EMBEDDING_CACHE_MIB", "0", "SAM_EMBEDDING_CACHE_MIB='0' is not between 1 and"),
        ("SAM_PREFETCH", "maybe", "SAM_PREFETCH='maybe' is neither true nor false"),
        ("SAM_DTYPE", "int3", "SAM_DTYPE='int3' is not one of auto, float32"),
        ("LABEL_STUDIO_URL", "localhost:8080", "LABEL_STUDIO_URL='localhost:8080' is not a URL"),
        ("LABEL_STUDIO_API_KEY", "secret", "LABEL_STUDIO_API_KEY is set without LABEL_STUDIO_URL"),
        ("SAM_BASIC_AUTH_USER", "u", "only one of SAM_BASIC_AUTH_USER and SAM_BASIC_AUTH_PASSWORD"),
    ],
)
def test_a_bad_value_names_its_variable(variable: str, value: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({variable: value})

    assert complaint in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="user name or password") as refused:
        Settings.from_env({"LABEL_STUDIO_URL": "http://ann:s3cret@ls:8080"})

    assert "s3cret" not in str(refused.value)


def test_secrets_are_not_in_the_settings_text() -> None:
    settings = Settings(label_studio_api_key="s3cret", basic_auth_password="s3cret", api_token="s3cret")

    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_is_refused_with_the_new_one(old: str, new: str) -> None:
    assert new in {variable for variable, _ in ENVIRONMENT.values()}

    with pytest.raises(SettingsError, match=f"{old} was renamed; set {new}"):
        Settings.from_env({old: "1"})
