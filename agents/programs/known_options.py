"""The options of each program that do more than its words show.

In order: options that run programs, that write files of the caller's choice, that read other configuration, that reach
the network. Git's subcommands have tables of their own beside that of git.
"""

from agents.programs.options import Options, options_of

#: What `mvn -D` may set: which tests run.
MAVEN_TESTS = r"(test|it\.test)=[\w.,*]+|(skipTests|skipITs|maven\.test\.skip|failIfNoTests)(=(true|false))?"
#: Options of scripts that package managers run, behind `--`: of most runners of tests and builds.
SCRIPTS = options_of("-r -r[./]*", "-o -o[./]*", "-c -c[./]*", bundles=False)

_GIT = {
    "git": options_of(
        "--config --config-env --exec --exec-path --upload-pack --receive-pack --ext-diff --textconv --strategy"
        " --gpg-sign --open-files-in-pager --edit-description --hook-path --interactive --template --repo"
        " --recurse-submodules",
        "--output --separate-git-dir",
        "--git-dir --work-tree --no-index --pathspec-from-file --contents --reference --bundle-uri",
    ),
    "git clone": options_of("-u -c", values="boj"),
    "git rebase": options_of("-x -s -S -i", values="CX"),
    "git grep": options_of("-O", values="ef"),
    **dict.fromkeys(("git merge", "git pull"), options_of("-s -S", values="mFX")),
    **dict.fromkeys(("git cherry-pick", "git revert"), options_of("-S", values="mX")),
    "git commit": options_of("-S", values="mFCct"),
    "git tag": options_of("-s -u", values="mFn"),
}
_SEARCH = {
    "find": options_of(
        "-exec -execdir -ok -okdir", "-delete -fprint -fprint0 -fprintf -fls", "-files0-from", bundles=False
    ),
    **dict.fromkeys(("fd", "fdfind"), options_of("-x -X --exec --exec-batch", values="eEdtcSo")),
    "rg": options_of("--pre --hostname-bin --search-zip -z", values="efgtTmABCjrdM"),
    "ag": options_of("--pager", values="ABCGgmp"),
    "ack": options_of("--pager --ackrc", "--create-ackrc"),
    "tree": options_of("", "-o"),
    "file": options_of("-z -Z", "-C", values="emfFP"),
    "diff": options_of("", "--output"),
    "shellcheck": options_of("", "", "--rcfile"),
    "rm": options_of("", "--no-preserve-root"),
    **dict.fromkeys(("cp", "mv", "ln"), options_of("", "-t --target-directory", values="S")),
}
_PACKAGES = {
    "npm": options_of(
        "--script-shell --node-options --shell --call --git --editor --viewer -c",
        "--prefix -C --cache --location -g --global",
        "--userconfig --globalconfig",
        "--registry --proxy --https-proxy",
    ),
    "pnpm": options_of("--script-shell --shell-mode -c", "--dir -C -g --global", "--config", "--registry"),
    # It gives a script what stands behind the name of the script.
    "yarn": options_of("--script-shell -r", "--cwd --modules-folder -o", "--use-yarnrc -c", "--registry"),
    "bun": options_of("--preload -r --require --eval -e --print -p --shell", "--cwd", "--config -c", "--registry"),
    "deno": options_of(
        "--preload --allow-run --allow-all -A --allow-ffi -P", "--lock", "--config -c --import-map --location",
        "--allow-net --reload -r --allow-import --inspect",
    ),
    "pip": options_of(
        "-e --editable --config-settings --global-option --build-option --install-option --python",
        "--target -t --prefix --root --log --report --src --cache-dir -b --build -d",
        "-r --requirement -c --constraint --group",
        "--index-url -i --extra-index-url --find-links -f --proxy --cert --client-cert --trusted-host",
        harmless="--no-build-isolation --pre",
    ),
    "venv": options_of("", "", "", "--upgrade-deps"),
    "virtualenv": options_of("-p --python --activators --creator --seeder", "--app-data", "", "--download"),
    "build": options_of("--config-setting -C --installer --config-json", "--outdir -o"),
    "gem": options_of("-e", "-i --install-dir", "--config-file", "-s --source --remote -r --both -b"),
    "composer": options_of("", "-d --working-dir", "", "--repository --repository-url"),
    "bundle": options_of("", "--path --binstubs --gemfile", "", "--redownload"),
    "cargo": options_of(
        "--config -Z", "--target-dir --out-dir --artifact-dir -C --lockfile-path", "--manifest-path --path",
        "--registry --index --git --open", values="jFp",
        # A file of a target may name a linker.
        safe={"--target": r"\w+(-\w+)+"},
    ),
    "go": options_of(
        "-exec -toolexec -vettool -ldflags -gcflags -asmflags -gccgoflags -compiler",
        "-o -cpuprofile -memprofile -blockprofile -mutexprofile -trace -outputdir -coverprofile -c -pkgdir",
        "-overlay -modfile -C -replace -workfile",
        bundles=False, safe={"-coverprofile": r"[\w-]+\.out"},
    ),
}  # fmt: skip
_BUILDS = {
    "make": options_of(
        "*=* --eval -E", "", "--file -f --makefile -C --directory -I --include-dir", values="jl"
    ),
    "cabal": options_of("-w --with-* --program-*", "", "--project-file --project-dir"),
    "stack": options_of("--with-* --exec --ghc-options", "--work-dir --local-bin-path", "--stack-yaml"),
    "zig": options_of("--test-cmd --test-cmd-bin", "-p --prefix --cache-dir", "--build-file --zig-lib-dir"),
    "swift": options_of("-X*", "--scratch-path --build-path --cache-path", "--package-path --toolchain --sdk"),
    "ninja": options_of("-t", "", "-f", values="Cjkl"),
    "cmake": options_of(
        # Words with = are for the program that builds.
        "-E -P -C -D* -I --toolchain --open --find-package --debugger [!-]*=*",
        "--install --prefix --graphviz --trace-redirect --profiling-output",
        "--preset --debugger-pipe -f --makefile --eval",
        harmless="--config",
        values="BSGATUW",
        # Of CMake's own variables, some name files or programs.
        safe={
            "-D": r"CMAKE_BUILD_TYPE=(Debug|Release|RelWithDebInfo|MinSizeRel)|CMAKE_EXPORT_COMPILE_COMMANDS=(ON|1)"
            r"|CMAKE_C(XX)?_STANDARD=\d+|(BUILD|ENABLE|WITH|USE)_\w+=(ON|OFF)"
        },
    ),
    "ctest": options_of(
        "-S -SP --build-and-test --build-makeprogram --test-command --build-options",
        "-O --output-log --output-junit", "--preset --resource-spec-file --script", "-D --dashboard -M -T",
        harmless="--output-on-failure", values="RELIjC",
    ),
    "mvn": options_of(
        # Words with a colon name plug-ins and their goals.
        "-D* --define [!-]*:*", "-l --log-file", "--file -f --settings -s -gs -t --toolchains",
        harmless="-pl -am -amd -fae -ff -fn", safe={"-D": MAVEN_TESTS},
    ),
    **dict.fromkeys(
        ("gradle", "gradlew"),
        options_of(
            "-I --init-script -D* -P* --system-prop --project-prop", "-g --gradle-user-home --project-cache-dir",
            "-c -b --build-file --settings-file --include-build -p --project-dir",
            "--scan --write-verification-metadata",
        ),
    ),
    "rake": options_of("-e --execute -E -p --execute-print --execute-continue -r --require --libdir -I", "",
                     "-f --rakefile -R --rakelibdir", values="jT"),
    **dict.fromkeys(("lerna", "nx"), options_of("--npm-client --runner --batch", "--output-path", "", "--registry")),
}  # fmt: skip
_TESTS = {
    "pytest": options_of(
        "-p --pdbcls --override-ini -o",
        "--basetemp --log-file --junitxml --junit-xml --report-log --debug --resultlog --html --json-report-file"
        " --profile-svg --result-log"
        " --benchmark-json --benchmark-storage --cov-*=*:* html:* xml:* json:* lcov:* annotate:* markdown:*",
        "-c --config-file --rootdir --confcutdir --cov-config",
        "--pastebin --tx --rsyncdir -d",
        harmless="--cov --cov-report --json-report --log-level --log-cli-level"
        " --durations --doctest-modules --no-cov --co --pdb"
        " --disable-warnings --cov-append --cov-branch --log-format --log-cli-format",
        values="knmrW",
        safe={"-p": r"no:\w+"},
    ),
    "coverage": options_of("", "--data-file -d --directory -o", "--rcfile --include-config", harmless="--debug"),
    "mypy": options_of(
        "--python-executable --install-types --custom-typing-module --custom-typeshed-dir",
        "--junit-xml --cobertura-xml-report --html-report --xml-report --txt-report --any-exprs-report"
        " --lineprecision-report --linecount-report --linecoverage-report --memory-xml-report --xslt-html-report"
        " --xslt-txt-report --cache-dir",
        "--config-file",
        values="pmc",
    ),
    "ruff": options_of("", "--output-file -o --cache-dir", "--config"),
    "black": options_of("-c --code", "", "--config", values="tl"),
    "isort": options_of("", "", "--settings-path --settings-file --sp --config-root", harmless="-l"),
    "flake8": options_of("", "--output-file --tee", "--config --append-config", values="jv"),
    "pylint": options_of("--init-hook --load-plugins", "--output -o --generate-rcfile", "--rcfile", values="jdef"),
    "pyright": options_of("--pythonpath --venvpath -v", "--createstub"),
    "pre-commit": options_of("", "", "-c --config"),
    "bandit": options_of("", "-o --output", "-c --configfile --ini -b --baseline", values="fntsp"),
    "eslint": options_of(
        "--rulesdir --resolve-plugins-relative-to --parser -f --plugin",
        "-o --output-file --cache-location --cache-file --cache-strategy",
        "-c --config --env-info",
        harmless="--parser-options --cache --env",
        safe={"-f": r"json|stylish|compact|html|unix|junit"},
    ),
    "stylelint": options_of(
        "--custom-syntax --custom-formatter --config-basedir", "-o --output-file --cache-location", "-c --config",
    ),
    "prettier": options_of("--plugin --plugin-search-dir", "--cache-location", "--config", harmless="--parser"),
    "tsc": options_of("--plugins", "--outFile --declarationDir --tsBuildInfoFile --generateTrace",
                    harmless="--outDir --module --moduleResolution"),
    **dict.fromkeys(("tape", "tap", "lab", "uvu"), options_of("-r --require --import --loader --before --after", "-o")),
    **dict.fromkeys(
        ("playwright", "golangci-lint", "semgrep", "yamllint"), options_of("", "-o --output", "-c --config")
    ),
    "mocha": options_of(
        "-r --require --loader --import --file --reporter-options -O --node-option --experimental-loader",
        "", "--config --opts --package", harmless="--recursive",
    ),
    **dict.fromkeys(
        ("jest", "vitest"),
        options_of(
            "--globalSetup --globalTeardown --setupFiles --setupFilesAfterEnv --testRunner --runner --resolver"
            " --transform --testEnvironment --environment --globals --snapshotSerializers --filter"
            " --dependencyExtractor --haste --watchPlugins --testSequencer --prettierPath --execArgv --poolOptions",
            "--outputFile --coverageDirectory --coverage.reportsDirectory --cacheDirectory --outputfile",
            "-c --config --rootDir --roots --projects --root",
            "--api --ui --open", harmless="--run --coverage --reporter --watch --watchAll",
        ),
    ),
    "rspec": options_of("-r --require -I", "-o --out", "-O --options --default-path --drb", values="etP"),
    "rubocop": options_of("-r --require --plugin", "-o --out", "-c --config", values="f"),
    "phpunit": options_of(
        "--bootstrap --prepend --extension --printer --loader", "--log-* --coverage-* --testdox-* --cache-result-file",
        "-c --configuration --include-path -d",
    ),
    "phpstan": options_of("-a --autoload-file", "", "-c --configuration"),
    **dict.fromkeys(
        ("webpack", "vite", "rollup", "parcel", "esbuild", "babel", "swc", "gulp", "grunt", "ava", "jasmine"),
        options_of(
            "--plugins --presets -r -p --tasks --inject --define", "-o -d", "-c -f --gulpfile --gruntfile --base",
            "--serve --servedir",
        ),
    ),
    "pandoc": options_of("-F --filter -L --lua-filter --pdf-engine *.lua", "-o --extract-media --log", "-d"),
    "protoc": options_of("--plugin", "--*_out* -o --descriptor_set_out"),
    "dot": options_of("-l", "-o -O", values="TKGNE"),
    **dict.fromkeys(("sphinx-build", "mkdocs"), options_of("-D -E", "", "-c -f", values="bj")),
    **dict.fromkeys(("gunicorn", "celery", "uvicorn"), options_of("-A", "-p --pid", "-c")),
    "manage.py": options_of("--testrunner", "-o --output", "--pythonpath"),
    "rails": options_of("-e --eval", "", "-c --config"),
    "mix": options_of("-e --eval -r --require", "--output -o", ""),
    "alembic": options_of("-x", "", "-c --config"),
}  # fmt: skip

KNOWN_OPTIONS: dict[str, Options] = {**_GIT, **_SEARCH, **_PACKAGES, **_BUILDS, **_TESTS}
KNOWN_OPTIONS["django-admin"] = KNOWN_OPTIONS["manage.py"]
