"""The rest of a release's surface: environment variables, parsers, defaults that depend on the machine."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qcmatrix.catalogue.releases import SchedulerDefaults, SchedulerTier
from qcmatrix.refresh.interpret import Interpreter
from qcmatrix.refresh.tree import ExtractionError, Module, SourceTree
from qcmatrix.refresh.values import UNKNOWN, Scope

__all__ = [
    "read_cudagraph_estimated",
    "read_environment",
    "read_parsers",
    "read_quantization_methods",
    "read_scheduler",
]

CUDAGRAPH_SWITCH = "VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS"


# -- environment variables ---------------------------------------------------------------------------------------


def read_environment(tree: SourceTree) -> dict[str, str | None]:
    """``VLLM_*`` names of ``vllm/envs.py`` -> the default as text, ``None`` where none is stated."""
    module = tree.require("vllm.envs")
    table = module.bindings.get("environment_variables") or module.bindings.get("env_variables")
    if not isinstance(table, ast.Dict):
        raise ExtractionError(f"{module.path}: no table environment_variables")
    stated = _declared_defaults(module)
    interpreter = Interpreter(tree)
    found: dict[str, str | None] = {}
    for key, value in zip(table.keys, table.values, strict=True):
        if isinstance(key, ast.Constant) and str(key.value).startswith("VLLM_"):
            name = str(key.value)
            known, default = _read_default(interpreter, module, name, value)
            found[name] = default if known else stated.get(name)
    return dict(sorted(found.items()))


def _declared_defaults(module: Module) -> dict[str, str]:
    """The constants that the ``TYPE_CHECKING`` block of ``envs.py`` states."""
    found: dict[str, str] = {}
    for statement in module.body:
        if isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING":
            for inner in statement.body:
                match inner:
                    case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=value)) if value is not None:
                        found[name] = _text(value)
    return found


def _read_default(interpreter: Interpreter, module: Module, name: str, value: ast.expr) -> tuple[bool, str | None]:
    """(known, default) from the call that reads the variable: ``os.getenv(NAME, DEFAULT)`` and its like.

    A default that is computed is known to be none, and so is one that is only used when the variable is set.
    """
    body: ast.AST = value
    if isinstance(value, ast.Name) and isinstance(module.bindings.get(value.id), ast.FunctionDef):
        body = module.bindings[value.id]  # type: ignore[assignment]
    for node in ast.walk(body):
        if _asks_whether_set(node, name):
            return True, _unset(interpreter, module, body, name)
    for call in ast.walk(body):
        if not isinstance(call, ast.Call) or not call.args:
            continue
        first = call.args[0]
        if not (isinstance(first, ast.Constant) and first.value == name):
            continue
        if "deprecated" in ast.unparse(call.func):
            continue  # a wrapper that warns: what it is given reads the variable
        if len(call.args) < 2:
            return False, None
        default = interpreter.evaluate(call.args[1], Scope(module))
        if isinstance(default, (str, int, float)):
            return True, _text(default)
        # chosen by platform, or `os.getenv(NAME, None) or ...`: the declaration says what comes of it;
        # anything else is computed, or is none
        plain = ast.unparse(call.func) in {"os.getenv", "os.environ.get"}
        return not isinstance(call.args[1], ast.IfExp) and not (plain and default is None), None
    return False, None


def _unset(interpreter: Interpreter, module: Module, body: ast.AST, name: str) -> str | None:
    """The other branch of ``... if NAME in os.environ else DEFAULT``."""
    for node in ast.walk(body):
        if isinstance(node, ast.IfExp) and any(_asks_whether_set(each, name) for each in ast.walk(node.test)):
            default = interpreter.evaluate(node.orelse, Scope(module))
            return _text(default) if isinstance(default, (str, int, float)) else None
    return None


def _asks_whether_set(node: ast.AST, name: str) -> bool:
    """``NAME in os.environ``: what is read from it then is no default."""
    match node:
        case ast.Compare(left=ast.Constant(value=value), ops=[ast.In() | ast.NotIn()]):
            return bool(value == name)
    return False


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def read_cudagraph_estimated(tree: SourceTree, environment: dict[str, str | None]) -> bool:
    """Whether the worker takes an estimate of the CUDA graphs out of the budget before KV, by default."""
    worker = tree.require("vllm.v1.worker.gpu_worker")
    used = any(isinstance(n, ast.Attribute) and n.attr == CUDAGRAPH_SWITCH for s in worker.body for n in ast.walk(s))
    estimates = any("profile_cudagraph_memory" in ast.unparse(s) for s in worker.body)
    if estimates and not used:
        raise ExtractionError(f"{worker.path}: estimates CUDA graph memory without {CUDAGRAPH_SWITCH}")
    return used and environment.get(CUDAGRAPH_SWITCH) == "1"


# -- parsers -----------------------------------------------------------------------------------------------------


def read_parsers(tree: SourceTree, manager: str, packages: tuple[str, ...], table: str) -> dict[str, str]:
    """Registered name -> class name, from the lazy table or from the ``register_module`` decorators.

    ``manager`` is the registry's class name, ``packages`` where parsers live, ``table`` the lazy table's name.
    """
    package = tree.require(*packages)
    lazy = package.bindings.get(table)
    if isinstance(lazy, ast.Dict):
        rows: dict[str, tuple[str, str]] = ast.literal_eval(lazy)
        return dict(sorted((name, cls) for name, (_, cls) in rows.items()))
    found: dict[str, str] = {}
    for module in tree.files(package.name):
        for names, cls in _registrations(module, manager):
            found.update(dict.fromkeys(names, cls))
    if not found:
        raise ExtractionError(f"{package.path}: registers no parser with {manager}")
    return dict(sorted(found.items()))


def _registrations(module: Module, manager: str) -> Iterator[tuple[list[str], str]]:
    for node in module.body:
        match node:
            case ast.ClassDef():
                for decorator in node.decorator_list:
                    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == f"{manager}.register_module":
                        argument = decorator.args[0] if decorator.args else decorator.keywords[0].value
                        names = ast.literal_eval(argument)
                        yield ([names] if isinstance(names, str) else list(names)), node.name
            case ast.Expr(value=ast.Call() as call) if ast.unparse(call.func) == f"{manager}.register_module":
                given = {keyword.arg: keyword.value for keyword in call.keywords}
                names = ast.literal_eval(given["name"])
                yield ([names] if isinstance(names, str) else list(names)), ast.unparse(given["module"])


def read_quantization_methods(tree: SourceTree) -> tuple[str, ...]:
    """The values of ``--quantization`` that the release itself brings."""
    module = tree.require("vllm.model_executor.layers.quantization")
    for name in ("QuantizationMethods", "QUANTIZATION_METHODS"):
        binding = module.bindings.get(name)
        if isinstance(binding, ast.Subscript):
            values = Interpreter(tree).evaluate(binding.slice, Scope(module))
        elif isinstance(binding, ast.List):
            values = Interpreter(tree).evaluate(binding, Scope(module))
        else:
            continue
        if values is not UNKNOWN:
            return tuple(sorted(str(value) for value in values))
    return ()


# -- scheduler ---------------------------------------------------------------------------------------------------


def read_scheduler(tree: SourceTree) -> SchedulerDefaults:
    """What ``EngineArgs`` fills in for ``UsageContext.OPENAI_API_SERVER`` on a CUDA device."""
    module = tree.require("vllm.engine.arg_utils")
    engine = module.bindings.get("EngineArgs")
    if not isinstance(engine, ast.ClassDef):
        raise ExtractionError(f"{module.path}: no class EngineArgs")
    functions = {node.name: node for node in engine.body if isinstance(node, ast.FunctionDef)}
    tiers = next((t for f in functions.values() if (t := _tiers(f, module))), ())
    if not tiers:
        raise ExtractionError(f"{module.path}: no defaults by device memory")
    names = (
        "_set_default_args_v1",
        "_set_default_args",
        "_set_default_max_num_seqs_and_batched_tokens_args",
        "_set_default_chunked_prefill_and_prefix_caching_args",
    )
    text = "\n".join(ast.unparse(functions[name]) for name in names if name in functions)
    capped = "self.max_num_seqs * model_config.max_model_len" in text
    batched = _batched_data_parallel(tree, text)
    return SchedulerDefaults(
        tiers=tiers,
        seqs_at_most_tokens="self.max_num_seqs = min(" in text,
        tokens_at_most_all_sequences=capped,
        chunking_forced="self.enable_chunked_prefill = True" in text,
        unchunked_tokens="at-least-context" if "max(model_config.max_model_len" in text else "context",
        throughput_factor=2 if "self.max_num_batched_tokens *= 2" in text and "self.max_num_seqs *= 2" in text else 1,
        batched_data_parallel_tokens=batched[0] if batched else None,
        batched_data_parallel_backends=batched[1] if batched else (),
    )


def _tiers(function: ast.FunctionDef, module: Module) -> tuple[SchedulerTier, ...]:
    for node in ast.walk(function):
        if isinstance(node, ast.If) and "device_memory" in ast.unparse(node.test):
            return tuple(_chain(node, module))
    return ()


def _chain(node: ast.If, module: Module) -> Iterator[SchedulerTier]:
    gib, names, capabilities = 0.0, [], []
    terms = node.test.values if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.And) else [node.test]
    for term in terms:
        match term:
            case ast.Compare(
                left=ast.Name(id="device_memory"),
                ops=[ast.GtE()],
                comparators=[ast.BinOp(left=ast.Constant(value=int() as value), right=ast.Name(id="GiB_bytes"))],
            ):
                gib = float(value)
            case ast.Compare(
                left=ast.Constant(value=str() as name), ops=[ast.NotIn()], comparators=[ast.Name(id="device_name")]
            ):
                names.append(name)
            case ast.UnaryOp(op=ast.Not(), operand=ast.Name(id="is_gb10")):
                capabilities.append(_capability(module, "is_gb10"))
            case _:
                raise ExtractionError(f"{module.path}:{node.lineno}: a condition that is not understood")
    yield _tier(node.body, module, min_gib=gib, names=tuple(names), capabilities=tuple(capabilities))
    if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        yield from _chain(node.orelse[0], module)
    else:
        yield _tier(node.orelse, module)


def _capability(module: Module, name: str) -> tuple[int, int]:
    """The compute capability that ``name`` stands for in ``get_batch_defaults``."""
    for statement in module.body:
        for node in ast.walk(statement):
            match node:
                case ast.Assign(
                    targets=[ast.Name(id=target)],
                    value=ast.Call(func=ast.Attribute(attr="is_device_capability"), args=[argument]),
                ) if target == name:
                    major, minor = ast.literal_eval(argument)
                    return int(major), int(minor)
    raise ExtractionError(f"{module.path}: {name} is not a compute capability")


def _tier(
    body: list[ast.stmt],
    module: Module,
    *,
    min_gib: float = 0.0,
    names: tuple[str, ...] = (),
    capabilities: tuple[tuple[int, int], ...] = (),
) -> SchedulerTier:
    values: dict[str, int] = {}
    for statement in body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=target)], value=ast.Dict(keys=keys, values=items)):
                for key, item in zip(keys, items, strict=True):
                    if key is not None and ast.unparse(key) == "UsageContext.OPENAI_API_SERVER":
                        values[target] = int(ast.literal_eval(item))
    try:
        tokens, seqs = values["default_max_num_batched_tokens"], values["default_max_num_seqs"]
    except KeyError:
        raise ExtractionError(f"{module.path}: a device class without defaults") from None
    return SchedulerTier(
        min_gib=min_gib,
        not_names=names,
        not_capabilities=capabilities,
        max_num_batched_tokens=tokens,
        max_num_seqs=seqs,
    )


def _batched_data_parallel(tree: SourceTree, text: str) -> tuple[int, tuple[str, ...]] | None:
    if "use_batched_dp_moe" not in text:
        return None
    scheduler, parallel = tree.require("vllm.config.scheduler"), tree.require("vllm.config.parallel")
    tokens = _class_constant(scheduler, "DEFAULT_MAX_NUM_BATCHED_TOKENS_FOR_BATCHED_DP")
    for statement in parallel.body:
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef) and node.name == "use_batched_dp_moe":
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Compare) and isinstance(inner.comparators[0], ast.Tuple):
                        return tokens, tuple(ast.literal_eval(inner.comparators[0]))
    raise ExtractionError(f"{parallel.path}: use_batched_dp_moe is not understood")


def _class_constant(module: Module, name: str) -> int:
    for statement in module.body:
        for node in ast.walk(statement):
            match node:
                case ast.AnnAssign(target=ast.Name(id=target), value=ast.Constant(value=int() as value)):
                    if target == name:
                        return value
    raise ExtractionError(f"{module.path}: no constant {name}")
