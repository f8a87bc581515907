"""The tasks of the reference pages, and why an image cannot do one: data, by installed versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

__all__ = ["BODY", "TASKS", "Facts", "Limit", "Task"]

TOOLKIT = "sagemaker-huggingface-inference-toolkit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What an image has: its framework, versions by normalised name, programs on PATH."""

    framework: str
    packages: Mapping[str, str]
    programs: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Whether a package or a program of the name is there."""
        return name in self.packages or name in self.programs

    def fits(self, package: str, versions: str) -> bool:
        """Whether a package is installed in one of the versions, like `<2.4,>=1.1`.

        >>> Facts(framework="pytorch", packages={"a": "4.17.0"}).fits("a", ">=4.17,<4.26")
        True
        """
        from packaging.specifiers import SpecifierSet

        found = self.packages.get(package)
        return found is not None and SpecifierSet(versions).contains(found, prereleases=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """Why a request is refused, and a regular expression that the server's message must match.

    It applies to an image that meets every condition given: `framework`, versions of Transformers
    and of the toolkit, `lacks` (a package or a program). What the official images of the same
    versions have is not different, or `why` tells.
    """

    why: str
    says: str
    framework: str = ""
    transformers: str = ""
    toolkit: str = ""
    lacks: str = ""

    def applies(self, facts: Facts) -> bool:
        """Whether an image meets every condition."""
        return (
            self.framework in ("", facts.framework)
            and (not self.transformers or facts.fits("transformers", self.transformers))
            and (not self.toolkit or facts.fits(TOOLKIT, self.toolkit))
            and not (self.lacks and facts.has(self.lacks))
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A task of the reference pages, HF_TASK for it, and the model of tiny_tasks.py for it."""

    name: str
    model: str
    hf_task: str = ""
    limits: tuple[Limit, ...] = ()

    @property
    def variable(self) -> str:
        """What HF_TASK is."""
        return self.hf_task or self.name

    def limit(self, facts: Facts) -> Limit | None:
        """The first reason why an image cannot do it; None if it can."""
        return next((limit for limit in self.limits if limit.applies(facts)), None)


_OLDER = "Transformers 4.12 and older have it for PyTorch alone"


def _since(version: str, task: str) -> Limit:
    return Limit(
        transformers=f"<{version}",
        why=f"Transformers has its pipeline since {version}",
        says=f"Unknown task {task}",
    )


def _pytorch_alone(versions: str = "", why: str = "Transformers has it for PyTorch alone") -> Limit:
    return Limit(
        framework="tensorflow",
        transformers=versions,
        why=why,
        # Some look up a name of PyTorch's part, or a class that only PyTorch has, before they tell.
        says="only available in PyTorch|name 'MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING(_NAMES)?' is not "
        "defined|cannot infer suitable model classes",
    )


# Older toolkits decode JSON, CSV and NumPy alone; a file is named in JSON instead.
BODY = Limit(
    toolkit="<2",
    why="pictures and sound in the body need toolkit 2.0; asked by the name of a file",
    says="not supported|not support",
)

_FFMPEG = Limit(
    lacks="ffmpeg",
    why="sound is decoded by ffmpeg, which is not in the image",
    says="ffmpeg was not found",
)
_TIMM = Limit(
    lacks="timm",
    transformers="<4.19",
    why="its one model of that time, DETR, needs timm, which is not in the image",
    says="timm",
)

TASKS = (
    Task(name="text-classification", model="text-classification"),
    Task(name="sentiment-analysis", model="text-classification"),
    Task(name="token-classification", model="tokens"),
    Task(name="ner", model="tokens"),
    Task(name="feature-extraction", model="features"),
    Task(name="fill-mask", model="mask"),
    Task(name="summarization", model="seq2seq"),
    Task(name="parameterized-request", model="seq2seq", hf_task="summarization"),
    Task(name="translation_xx_to_yy", model="seq2seq", hf_task="translation_en_to_de"),
    Task(name="text2text-generation", model="seq2seq"),
    Task(name="text-generation", model="causal"),
    Task(name="question-answering", model="questions"),
    Task(name="zero-shot-classification", model="zero-shot"),
    Task(
        name="table-question-answering",
        model="table",
        limits=(
            _pytorch_alone("<4.13", _OLDER),
            Limit(
                framework="pytorch",
                transformers="<4.25",
                lacks="torch-scatter",
                why="TAPAS needs torch-scatter before Transformers 4.25, which is not in the image",
                says="scatter",
            ),
            Limit(
                framework="tensorflow",
                lacks="tensorflow-probability",
                why="TAPAS needs tensorflow-probability, which is not in the image",
                says="tensorflow_probability|'tfp' is not defined",
            ),
            Limit(
                lacks="pandas",
                why="tables are read by pandas, which is not in the image",
                says="(?i)pandas",
            ),
        ),
    ),
    Task(
        name="conversational",
        model="causal",
        limits=(
            Limit(
                toolkit="<1.1",
                why="the toolkit makes conversations of JSON since 1.1",
                says="Conversation",
            ),
        ),
    ),
    Task(
        name="audio-classification",
        model="audio-classification",
        limits=(_since("4.11", "audio-classification"), _pytorch_alone(), _FFMPEG),
    ),
    Task(
        name="automatic-speech-recognition",
        model="speech-recognition",
        limits=(_since("4.9", "automatic-speech-recognition"), _pytorch_alone(), _FFMPEG),
    ),
    Task(
        name="image-classification",
        model="image-classification",
        limits=(_pytorch_alone("<4.13", _OLDER),),
    ),
    Task(
        name="image-segmentation",
        model="image-segmentation",
        limits=(
            _since("4.12", "image-segmentation"),
            _pytorch_alone(),
            replace(_TIMM, transformers="<4.17"),
            Limit(
                toolkit="<2",
                transformers=">=4.17",
                why="its masks are pictures, which the toolkit writes as JSON since 2.0",
                says="not JSON serializable",
            ),
            Limit(
                transformers=">=5,<5.23",  # 5.5.3 was seen to refuse it, and 5.23.0 to answer
                lacks="torchvision",
                why="in Transformers 5 its model needed torchvision, which is not in the image",
                says="(?i)torchvision|Unrecognized image processor",
            ),
        ),
    ),
    Task(
        name="object-detection",
        model="object-detection",
        limits=(_since("4.11", "object-detection"), _pytorch_alone(), _TIMM),
    ),
    Task(
        name="zero-shot-image-classification",
        model="zero-shot-image",
        limits=(_since("4.17", "zero-shot-image-classification"),),
    ),
)
