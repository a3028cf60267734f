#!/usr/bin/env bash
# Makes a directory with Ray and its C++ API beside .venv, once, and compiles the C++ caller of bench/actors there. Prints
# the directory. Where there is no compiler or no package, the file "missing" in it says why, and the bench does without.
set -euo pipefail
cd "$(dirname "$0")/.."

code=bench/actors/cpp/caller.cc
version=$(.venv/bin/python -c 'from importlib.metadata import version; print(version("ray"))')
dir=$PWD/.cache/ray-cpp-$version
mkdir -p "$dir"
echo "$dir"
exec >&2

missing() {
	echo "ray_cpp: $*"
	rm -f "$dir/caller"
	echo "$*" >"$dir/missing"
	exit 0
}

cxx=${CXX:-g++}
command -v "$cxx" >/dev/null || missing "no C++ compiler ($cxx)"

# Ray itself as well: what starts its C++ workers looks for them beside its own files.
if [ ! -d "$dir/site" ]; then
	echo "ray_cpp: fetching ray[cpp]==$version; about 320 MB on disk, once"
	rm -rf "$dir/site.part"
	.venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps --target "$dir/site.part" "ray==$version" "ray-cpp==$version" ||
		missing "the package ray-cpp $version does not install"
	mv "$dir/site.part" "$dir/site"
fi

if [ ! -x "$dir/caller" ] || [ $code -nt "$dir/caller" ]; then
	echo "ray_cpp: compiling $code, once"
	cpp=$dir/site/ray/cpp
	# Ray is compiled with the older form of strings.
	"$cxx" -std=c++17 -O2 -fPIC -D_GLIBCXX_USE_CXX11_ABI=0 -isystem "$cpp/include" -c $code -o "$dir/caller.o" &&
		"$cxx" -shared "$dir/caller.o" -o "$dir/caller.so" -L"$cpp/lib" -lray_api -Wl,-rpath,'$ORIGIN/site/ray/cpp/lib' &&
		"$cxx" "$dir/caller.o" -o "$dir/caller.part" -L"$cpp/lib" -lray_api -Wl,-rpath,'$ORIGIN/site/ray/cpp/lib' ||
		missing "$code does not compile against ray-cpp $version with $cxx"
	mv "$dir/caller.part" "$dir/caller"
fi
rm -f "$dir/missing"
