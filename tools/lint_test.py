"""Proves that each lint finds what it is for, and keeps quiet about what is right."""

import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

import lint_layers
import lint_symbols
import lint_third_party
import lint_tidy
from lint_common import Findings, strip_cpp

MODULES = """\
holdfast_module(base SYSTEM spdlog)
holdfast_module(model DEPS base SYSTEM nlohmann_json)  # a comment
holdfast_module(store
  DEPS base
  SYSTEM pugixml
  TEST_SYSTEM libarchive)
holdfast_module(repo DEPS base store)
holdfast_app(tool DEPS repo SYSTEM cli11)
"""


class Tree(unittest.TestCase):
    """A small source tree in a temporary folder."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.write("cmake/Modules.cmake", MODULES)
        self.write("cmake/SystemLibraries.cmake", "set(HOLDFAST_COMMON_SYSTEM fmt)\n")

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))

    def run_lint(self, lint):
        findings = Findings()
        lint.check(self.root, findings)
        return findings.entries

    def assert_clean(self, lint):
        self.assertEqual(self.run_lint(lint), [])

    def assert_found(self, lint, *parts):
        entries = self.run_lint(lint)
        self.assertEqual(len(entries), 1, entries)
        for part in parts:
            self.assertIn(part, entries[0])


class Layers(Tree):
    def test_declared_uses_are_fine(self):
        self.write("src/base/a.h", "#pragma once\n#include <vector>\n#include <sys/stat.h>\n")
        self.write(
            "src/store/a.cc",
            '#include "base/a.h"\n#include <pugixml.hpp>\n#include <fmt/format.h>\n',
        )
        self.write(
            "src/store/a_test.cc",
            '#include "store/a.h"\n#include <gtest/gtest.h>\n'
            '#include "testing/store_contract.h"\n#include <archive.h>\n',
        )
        self.write("testing/store_contract.h", '#include "store/a.h"\n#include <gtest/gtest.h>\n')
        self.write(
            "apps/tool/main.cc",
            '#include "apps/tool/x.h"\n#include "repo/a.h"\n#include <CLI/CLI.hpp>\n',
        )
        self.assert_clean(lint_layers)

    def test_a_module_above_is_refused(self):
        self.write("src/base/a.cc", '\n#include "model/a.h"\n')
        self.assert_found(lint_layers, "src/base/a.cc:2", "base may use nothing, but not model")

    def test_the_dependency_of_a_dependency_is_refused(self):
        self.write("apps/tool/main.cc", '#include "store/a.h"\n')
        self.assert_found(lint_layers, "tool may use repo, but not store")

    def test_an_undeclared_module_is_refused(self):
        self.write("src/extra/a.cc", "#include <vector>\n")
        self.assert_found(lint_layers, "extra is not declared")

    def test_a_row_that_uses_a_later_row_is_refused(self):
        self.write("cmake/Modules.cmake", "holdfast_module(a DEPS b)\nholdfast_module(b)\n")
        self.assert_found(lint_layers, "a depends on b")

    def test_a_third_party_header_of_another_module_is_refused(self):
        self.write("src/repo/a.cc", "#include <nlohmann/json.hpp>\n")
        self.assert_found(lint_layers, "repo does not declare SYSTEM nlohmann_json")

    def test_an_unknown_header_is_refused(self):
        self.write("src/repo/a.cc", "#include <xxhash.h>\n")
        self.assert_found(lint_layers, "<xxhash.h>: unknown header")

    def test_third_party_headers_in_our_headers_are_refused(self):
        self.write("src/model/a.h", "#pragma once\n#include <nlohmann/json.hpp>\n")
        self.assert_found(lint_layers, "third-party headers belong into .cc files")

    def test_the_light_json_header_may_be_in_a_header(self):
        self.write("src/model/a.h", "#pragma once\n#include <nlohmann/json_fwd.hpp>\n")
        self.assert_clean(lint_layers)

    def test_a_header_for_cc_files_only_may_have_them_and_stays_there(self):
        self.write(
            "src/model/a.h",
            "// Inner words. For .cc\n// files only.\n#pragma once\n#include <nlohmann/json.hpp>\n",
        )
        self.write("src/model/a.cc", '#include "model/a.h"\n')
        self.assert_clean(lint_layers)
        self.write("src/model/b.h", '#pragma once\n#include "model/a.h"\n')
        self.assert_found(lint_layers, "src/model/b.h:2", "is for .cc files only")

    def test_testing_in_shipped_code_is_refused(self):
        self.write("src/store/a.cc", '#include "testing/fakes.h"\n')
        self.assert_found(lint_layers, "testing/ is for tests only")

    def test_gtest_in_shipped_code_is_refused(self):
        self.write("src/store/a.cc", "#include <gtest/gtest_prod.h>\n")
        self.assert_found(lint_layers, "gtest is for tests only")

    def test_a_fake_that_brings_in_a_higher_module_is_refused(self):
        self.write("testing/fakes.h", '#include "testing/more.h"\n')
        self.write("testing/more.h", '#include "repo/a.h"\n')
        self.write("src/store/a_test.cc", '#include "testing/fakes.h"\n')
        self.assert_found(lint_layers, "src/store/a_test.cc:1", "brings in repo")

    def test_relative_paths_are_refused(self):
        self.write("src/store/a.cc", '#include "a.h"\n')
        self.assert_found(lint_layers, "name the path from src/")


class Symbols(unittest.TestCase):
    def test_names_taken_past_the_declared_row_are_found(self):
        rows = [
            lint_layers.Row("module", words.split())
            for words in ("base", "store DEPS base", "repo DEPS store")
        ]
        modules = {row.name: row for row in rows}
        tables = {
            "base": ({"Base"}, set()),
            "store": ({"Store"}, {"Base"}),
            "repo": ({"Repo"}, {"Store", "malloc"}),
        }
        self.assertEqual(list(lint_symbols.undeclared(modules, tables)), [])
        tables["repo"] = ({"Repo"}, {"Store", "Base"})
        self.assertEqual(
            list(lint_symbols.undeclared(modules, tables)), [("repo", "Base", {"base"})]
        )

    def test_nm_is_read_right(self):
        with tempfile.TemporaryDirectory() as name:
            source = Path(name) / "a.cc"
            source.write_text("int Other();\nint Mine() { return Other(); }\n")
            built = Path(name) / "a.o"
            subprocess.run(["g++", "-c", "-o", str(built), str(source)], check=True)
            self.assertEqual(lint_symbols.symbols(built), ({"_Z4Minev"}, {"_Z5Otherv"}))


class Tidy(Tree):
    BANNED = {
        "clock": "auto t = std::chrono::steady_clock::now();",
        "sleep": "std::this_thread::sleep_for(1ms);",
        "rand": "int x = rand();",
        "random-device": "std::random_device seed;",
        "detach": "worker.detach();",
        "thread": "std::thread worker(run);",
        "async": "auto f = std::async(run);",
        "using-namespace": "using namespace std;",
        "assert": "assert(x > 0);",
        "terminal": 'std::printf("x");',
        "getenv": 'std::getenv("HOME");',
        "unsafe": "int n = atoi(text);",
        "shell": 'system("ls");',
    }

    def test_every_rule_has_its_bad_example_here(self):
        self.assertEqual({rule.name for rule in lint_tidy.RULES}, set(self.BANNED))

    def test_banned_calls_are_found_and_the_replacement_is_named(self):
        for rule in lint_tidy.RULES:
            with self.subTest(rule.name):
                self.write("src/store/a.cc", f"\n{self.BANNED[rule.name]}\n")
                self.assert_found(lint_tidy, "src/store/a.cc:2", f"[{rule.name}]", rule.instead)

    def test_an_exception_needs_the_rule_and_a_reason(self):
        call = "std::random_device seed;"
        self.write("src/store/a.cc", f"// tidy: allow(random-device) seeds a test name.\n{call}\n")
        self.assert_clean(lint_tidy)
        self.write("src/store/a.cc", f"{call}  // tidy: allow(random-device)\n")
        self.assert_found(lint_tidy, "[random-device]")
        self.write("src/store/a.cc", f"{call}  // tidy: allow(clock) wrong rule\n")
        self.assert_found(lint_tidy, "[random-device]")

    def test_words_in_comments_and_strings_are_no_calls(self):
        self.write(
            "src/store/a.cc",
            """\
            // Never assert(x) or rand() here.
            const char* kText = "system(\\"rm\\") and rand()";
            /* std::thread
               detach() */
            const char* kRaw = R"(printf("x"))";
            static_assert(sizeof(int) == 4);
            auto size = file.system();
            """,
        )
        self.assert_clean(lint_tidy)

    def test_the_home_of_a_rule_may_use_it(self):
        self.write("src/base/clock.cc", "auto t = std::chrono::steady_clock::now();\n")
        self.assert_clean(lint_tidy)

    def test_sizes_are_limited(self):
        for path, limit in (
            ("src/store/a.cc", 500),
            ("src/store/a_test.cc", 1000),
            ("src/store/a.h", 250),
            ("tests/e2e/a.py", 1000),
            ("tools/a_test.py", 1000),
            ("demo/a.py", 500),
        ):
            with self.subTest(path):
                line = "#pragma once\n" if path.endswith(".h") else "\n"
                self.write(path, line * limit)
                self.assert_clean(lint_tidy)
                self.write(path, line * (limit + 1))
                self.assert_found(lint_tidy, path, f"the limit is {limit}")
                (self.root / path).unlink()

    def test_size_exceptions_need_a_reason_and_a_need(self):
        self.write("src/store/a.cc", "\n" * 600)
        self.write("tools/size_exceptions.txt", "src/store/a.cc 650 one table\n")
        self.assert_clean(lint_tidy)
        self.write("src/store/a.cc", "\n" * 10)
        self.assert_found(lint_tidy, "needs no exception any more")
        self.write("tools/size_exceptions.txt", "src/store/a.cc 650\n")
        self.assert_found(lint_tidy, "want: path, lines, reason")
        self.write("tools/size_exceptions.txt", "src/store/gone.cc 650 one table\n")
        self.assert_found(lint_tidy, "does not exist")

    def test_too_many_files_in_one_folder_are_found(self):
        for number in range(41):
            self.write(f"src/store/f{number}.cc", "\n")
        self.assert_found(lint_tidy, "src/store: 41 files")

    def test_text_is_tidy(self):
        for text, found in (
            ("int x;\t// y\n", "tab"),
            ("int x; \n", "white space"),
            (f"// {'x' * 98}\n", "101 columns"),
            ("// TO" + "DO later\n", "do it, or file an issue"),
        ):
            with self.subTest(found):
                self.write("src/store/a.cc", text)
                self.assert_found(lint_tidy, "src/store/a.cc:1", found)

    def test_headers_have_a_guard(self):
        self.write("src/store/a.h", "int x;\n")
        self.assert_found(lint_tidy, "#pragma once")

    def test_stripping_keeps_line_numbers(self):
        self.assertEqual(strip_cpp("a /* b\nc */ d\n// e\nf").count("\n"), 3)


class ThirdParty(Tree):
    ROWS = (
        "| `libx-dev` | MIT | x |\n| `pack` | 1.2 | MIT | y |\n| `host/tool` | v1.0 | MIT | z |\n"
    )

    def setUp(self):
        super().setUp()
        self.write("tools/packages.txt", "# comment\nlibx-dev  1.0  build  linked\n")
        self.write("tools/requirements.txt", "pack==1.2 \\\n    --hash=sha256:00\n")
        self.write(
            "tools/gw/go.mod",
            "module m\n\ntool host/tool/cmd/x\n\n"
            "require (\n\thost/tool v1.0 // indirect\n\thost/other v2.0 // indirect\n)\n",
        )

    def test_a_full_table_is_fine(self):
        self.write("THIRD_PARTY.md", self.ROWS)
        self.assert_clean(lint_third_party)

    def test_missing_rows_are_found(self):
        for name in ("libx-dev", "pack", "host/tool"):
            with self.subTest(name):
                rows = [row for row in self.ROWS.splitlines(True) if name not in row]
                self.write("THIRD_PARTY.md", "".join(rows))
                self.assert_found(lint_third_party, f"no row for {name}")

    def test_wrong_versions_missing_licences_and_stale_rows_are_found(self):
        for row, bad, found in (
            ("| 1.2 |", "| 1.3 |", "pinned is 1.2"),
            ("| v1.0 | MIT |", "| v1.0 | |", "licence and use"),
            ("| x |", "| |", "licence and use"),
        ):
            with self.subTest(found):
                self.write("THIRD_PARTY.md", self.ROWS.replace(row, bad))
                self.assert_found(lint_third_party, found)
        self.write("THIRD_PARTY.md", self.ROWS + "| `gone` | MIT | was used |\n")
        self.assert_found(lint_third_party, "gone is no dependency any more")


SUMMARY = Path(__file__).with_name("test_summary.py")
CTEST = """<testsuite>
<testcase name="unit.a" status="{status}">{failure}</testcase>
<testcase name="lint.b" status="run"/>{more}</testsuite>"""
GTEST = """<testsuites><testsuite>
<testcase name="One" classname="A" status="run"/>
<testcase name="Two" classname="A" status="run"><skipped message="a.cc:3&#x0A;{reason}"/></testcase>
<testcase name="Off" classname="A" status="notrun"/>{more}</testsuite></testsuites>"""
FAILURE = '<failure message="x"/>'


class Summary(Tree):
    def summary(self, *options):
        done = subprocess.run(
            [sys.executable, str(SUMMARY), str(self.root), *options],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines()

    def write_reports(self, reason="no disk", failure="", more="", in_gtest=""):
        status = "fail" if failure else "run"
        self.write("ctest.xml", CTEST.format(status=status, failure=failure, more=more))
        self.write("unit.a.xml", GTEST.format(reason=reason, more=in_gtest))

    def test_counts_the_tests_inside_the_binaries(self):
        self.write_reports()
        status, lines = self.summary()
        self.assertEqual(status, 0)
        self.assertEqual(lines, ["skipped: unit.a:A.Two: no disk", "2 passed, 0 failed, 1 skipped"])

    def test_a_skip_fails_in_ci_unless_its_reason_is_allowed(self):
        self.write_reports()
        self.assertEqual(self.summary("--strict")[0], 1)
        self.assertEqual(self.summary("--strict")[1][-1], "2 passed, 1 failed, 0 skipped")
        self.write_reports(reason="needs HOLDFAST_TEST_QDRANT")
        self.assertEqual(self.summary("--strict")[0], 0)

    def test_failures_are_named(self):
        self.write_reports(
            failure=FAILURE,
            in_gtest=f'<testcase name="Bad" classname="A" status="run">{FAILURE}</testcase>',
        )
        status, lines = self.summary()
        self.assertEqual(status, 1)
        self.assertIn("FAILED: unit.a:A.Bad", lines)
        self.assertEqual(lines[-1], "2 passed, 1 failed, 1 skipped")

    def test_a_program_that_fails_with_passing_tests_has_failed(self):
        self.write_reports(failure=FAILURE)
        self.assertIn("FAILED: unit.a (the program itself failed)", self.summary()[1])

    def test_a_program_that_died_before_its_report_has_failed(self):
        self.write_reports(failure=FAILURE)
        (self.root / "unit.a.xml").unlink()
        self.assertEqual(self.summary()[1][-1], "1 passed, 1 failed, 0 skipped")

    def test_pytest_counts_too_and_a_torn_report_is_a_failure(self):
        self.write_reports()
        self.write(
            "pytest.xml",
            '<testsuites><testsuite><testcase classname="t" name="x"/>'
            '<testcase classname="t" name="y"><error message="e"/></testcase>'
            "</testsuite></testsuites>",
        )
        self.assertEqual(self.summary()[1][-1], "3 passed, 1 failed, 1 skipped")
        self.write("pytest.xml", "<testsuites><testsu")
        self.assertEqual(self.summary()[0], 1)

    def test_nothing_run_or_a_broken_build_is_no_success(self):
        self.assertEqual(self.summary(), (1, ["No test ran.", "0 passed, 0 failed, 0 skipped"]))
        self.assertEqual(
            self.summary("--broken", "the build")[1],
            ["FAILED: the build", "0 passed, 1 failed, 0 skipped"],
        )


if __name__ == "__main__":
    unittest.main()
