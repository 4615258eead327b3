from sam_model.runtime.compiled_loops import CompiledLoops


def test_a_module_that_cannot_be_imported_is_none() -> None:
    assert CompiledLoops("sam_model.no_such_module").wait() is None
