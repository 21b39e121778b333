"""Imports that take a second are avoided."""

import subprocess
import sys


def test_papermill_is_imported_without_the_grammar_of_addresses():
    code = (
        "import sys\n"
        "from heygem.core.slow_imports import without_address_grammar\n"
        "with without_address_grammar():\n"
        "    import papermill, jsonschema\n"
        "assert 'lark' not in sys.modules and 'rfc3987_syntax' not in sys.modules\n"
        "checker = jsonschema.Draft7Validator.FORMAT_CHECKER\n"
        "assert checker.conforms('a@b', 'email') and not checker.conforms('a', 'email')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
