#!/bin/bash
# SPDX-License-Identifier: MIT
# Drivers that crash, hang, lie, lose the device and give wrong numbers: each ends in a sentence, and where there is
# another way to compute, in the right text. The driver is tests/device/fake_icd.c.
. "$(dirname "$0")/lib"

fake=${SHERD_BUILD:-build}/tests/device/libfakeicd.so
pocl=$(cat /etc/OpenCL/vendors/pocl.icd 2>/dev/null)
if [[ ! -e $fake || -z $pocl ]]; then
	echo "skipped: no $fake, or no PoCL that it could stand before"
	exit 77
fi

# Most cases are about who ends how, and are left to the plain build, which takes a third of the time; the sanitized one
# has the last few, or all of them if time is no matter.
sanitized=$sherd
[[ -n ${SHERD_LONG:-} ]] || sherd=${SHERD_PLAIN:-$sherd}
# The sanitizer must not make an exit of a crash.
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}handle_segv=0:handle_abort=0:handle_sigill=0
# Nothing but a hang takes long, however busy the machine is: that is waited for so many seconds, which a driver
# that does not hang has then, too.
export SHERD_DEVICE_TIMEOUT=300
hangs=12

# Beside PoCL's, as a GPU; and alone.
mkdir "$tmp/both" "$tmp/alone"
echo "$pocl" >"$tmp/both/pocl.icd"
cp "$fake" "$tmp/fake.so"
echo "$tmp/fake.so" | tee "$tmp/both/fake.icd" >"$tmp/alone/fake.icd"

ask=(-p "The scheduler" -n 12 --temp 0)
sh_run run -m "$model" "${ask[@]}" --device reference
cp "$out" "$tmp/want"

# What is known of PoCL's device beforehand, so that each case tests the driver alone.
export XDG_CACHE_HOME=$tmp/known
sh_run run -m "$model" "${ask[@]}" --device reference
OCL_ICD_VENDORS=$tmp/both sh_run run -m "$model" "${ask[@]}" --device cpu
ok "a driver that does as it should is beside another" same "$out" "$tmp/want"

# with FOLDER "RULES" ARG...: sherd, with nothing known of the fake driver, whose library is a new one each time.
with()
{
	rm -rf "$tmp/cache"
	cp -r "$tmp/known" "$tmp/cache"
	cp "$fake" "$tmp/fake.so"
	again "$@"
}

# again ...: with what is known by now.
again()
{
	local folder=$1 rules=$2

	shift 2
	XDG_CACHE_HOME=$tmp/cache OCL_ICD_VENDORS=$tmp/$folder SHERD_FAKE_ICD=$rules sh_run "$@"
}

run=(run -m "$model" "${ask[@]}")

# says PATTERN: the text is right, and a line of remarks matches; nothing but remarks is there.
says()
{
	((rc == 0)) && same "$out" "$tmp/want" && grep -qE "^sherd: .*$1" "$err" &&
		! grep -qvE '^sherd: ' "$err"
}

# fails PATTERN: one sentence, and no text but the beginning of the right one.
fails()
{
	((rc == 1)) && [[ $(tail -n 1 "$err") =~ ^sherd\ [a-z-]+:\ .*$1 ]] &&
		cmp -s -n "$(stat -c %s "$out")" "$out" "$tmp/want"
}

# ------------------------------------------------------------ drivers that are not safe to load

left="fake.icd \(.*fake.so\) is left out, since loading it is not safe: the device's test"
with both "crash:clGetPlatformIDs" "${run[@]}"
ok "a driver that crashes when it is loaded is left out, and another computes" says "$left crashed \(Segm"
again both "crash:clGetPlatformIDs" "${run[@]}"
ok "the next start knows" says "$left crashed .*at an earlier start; sherd doctor tries again"
again both "crash:clGetPlatformIDs" devices
ok "devices says so" grep -qE "$left crashed \(Segm" "$out"
again both "crash:clGetPlatformIDs" devices --json
ok "and has it in JSON" test -n "$(json left_out.0)"
again both "crash:clGetPlatformIDs" doctor --quick
ok "doctor says so" grep -qE "^  !!   driver +.*$left crashed \(Segm" "$out"
again both "" doctor --quick
ok "doctor tries it again, and says nothing when it is well" bash -c "! grep -q 'left out' '$out'"
with both "abort:clGetDeviceIDs" "${run[@]}"
ok "so is one that aborts when it is asked for devices" says "$left crashed \(Aborted\): asking what devices"
with both "crash:clCreateContext" "${run[@]}"
ok "so is one that crashes with the first context" says "$left crashed .*: a first buffer on Fake GPU"
with both "platform:null" "${run[@]}"
ok "so is one that has a platform which is none" says "$left crashed"
SHERD_DEVICE_TIMEOUT=$hangs with both "hang:clGetDeviceIDs" "${run[@]}"
ok "so is one that hangs" says "$left hung: ended after $hangs s: asking what devices"
with alone "crash:clGetDeviceIDs" "${run[@]}"
ok "where it was the only one, plain C computes" says "(plain C computes|the only one of .* that computes right)"
with alone "crash:clGetDeviceIDs" "${run[@]}" --device gpu
ok "unless a device was asked for" fails "no OpenCL driver can be used: .*$left crashed"
with both "platform:none" "${run[@]}"
ok "a driver without a platform is no reason for a word" says "pthread"
with both "platform:zero" "${run[@]}"
ok "nor is one without devices" says "pthread"

# ------------------------------------------------------------------ drivers that say strange things

for lie in huge unterminated control; do
	with alone "info:$lie" "${run[@]}" --device reference -v
	again alone "info:$lie error:clCreateContext=-5" "${run[@]}"
	ok "no name is believed that is $lie" says "(plain C computes|the only one of .* that computes right|plain C)"
	ok "  ... nor commands the terminal" bash -c "! grep -q '[^[:print:]]' '$err'"
done
with both "info:alloc0 info:units0" "${run[@]}"
ok "a device that has no memory for a buffer is not taken" says "pthread"

# ------------------------------------------------- devices that fail when they are opened or tested

# what is said depends on whether it was measured against the CPU before
cpu="(Fake GPU fails here, and the CPU takes its place|Fake GPU is not used)"
with both "error:clCreateContext=-2" "${run[@]}"
ok "a device that can't be opened gives way to the CPU" says "(takes its place|is not used): .*CL_DEVICE_NOT_AVAILABLE"
with both "crash:clBuildProgram" "${run[@]}"
ok "so does one whose compiler crashes" says "$cpu: the device's test crashed"
again both "crash:clBuildProgram" "${run[@]}"
ok "the next start does not try it again, and says why" says "$cpu: .*at an earlier start; to try again: sherd device"
again both "crash:clBuildProgram" devices
ok "devices says so, too" grep -qE "^at an earlier start: Fake GPU.*: the device's test crashed" "$out"
again both "" devices --forget
ok "what failed can be forgotten" grep -q "^forgot [1-9]" "$out"
again both "" devices --json
ok "and nothing speaks against the device any more" bash -c "grep -q '\"failures\": \[\]' '$out'"
with both "crash:clBuildProgram" "${run[@]}" --device gpu
ok "unless it was asked for" fails "the device's test crashed"
SHERD_DEVICE_TIMEOUT=$hangs with both "hang:clBuildProgram" "${run[@]}"
ok "so does one whose compiler hangs" says "$cpu: the device's test hung: ended after $hangs s"
SHERD_DEVICE_TIMEOUT=$hangs again both "hang:clBuildProgram" "${run[@]}"
ok "the next start knows, says so, and does not wait again" says "$cpu: the device's test hung: .*at an earlier start; to try again: sherd device"
# From here on it counts as the fastest, and is not measured each time.
with both "" "${run[@]}"
choice=$(grep -lE "times as (fast|slow)" "$tmp"/cache/sherd/device/*.txt)
again both "" devices --json
[[ $(json devices.0.name) == "Fake GPU" ]]
sed -i "1s/.*/$?/" "$choice"
cp -r "$tmp/cache" "$tmp/chosen"
chosen() # chosen "RULES"
{
	rm -rf "$tmp/cache"
	cp -r "$tmp/chosen" "$tmp/cache"
	again both "$1" "${run[@]}"
}
cpu="Fake GPU fails here, and the CPU takes its place"
chosen "log:fail"
ok "so does one whose compiler refuses, which is quoted" says "$cpu: .*error: the shader core is on strike"
chosen "log:endless"
ok "an endless log is cut" says "$cpu: .*eeee"
chosen "error:clCreateBuffer=-4@8"
ok "so does one that has no memory" says "$cpu: .*CL_MEM_OBJECT_ALLOCATION_FAILURE"
chosen "error:clEnqueueNDRangeKernel=-5"
ok "so does one that runs nothing" says "$cpu: .*CL_OUT_OF_RESOURCES"

with alone "crash:clBuildProgram" doctor
ok "doctor tests the kernels in a child" grep -qE "^  no   plain  .*the device's test crashed" "$out"
ok "  ... and says what would help with which device" grep -qE "^  [0-9]+. Fake GPU, plain: the device's test crashed" "$out"
ok "  ... and where no device passes that is a problem" bash -c "test $rc = 1 && grep -q '^  !!   OpenCL .*no device can compute' '$out'"

# --------------------------------------------------- binaries, which some drivers do not survive

# A "CPU" has the kernels that PoCL's has, which are compiled already.
card="info:type_cpu"
known=("${run[@]}" --device 0)
with alone "$card crash:clCreateProgramWithBinary" "${known[@]}"
ok "a driver that crashes on its own binaries does so in a child" says "first use"
again alone "$card crash:clCreateProgramWithBinary" "${known[@]}"
ok "its kernels are compiled at each start, which is said" says "did not survive its own binaries"
again alone "" devices --forget
again alone "$card" "${known[@]}"
ok "when that is forgotten, a child tries new ones" says "first use"
again alone "$card" "${known[@]}"
ok "  ... which a better driver takes back" bash -c "! grep -q 'did not survive' '$err'"
with alone "$card" "${known[@]}"
ok "a driver that takes its binaries back has them kept" says "first use"
again alone "$card in:run crash:clCreateProgramWithBinary" "${known[@]}" 2>"$tmp/shell"
ok "one that no longer does crashes once" test $rc = 139
again alone "$card crash:clCreateProgramWithBinary" "${known[@]}"
ok "then its kernels are tested anew, and its binaries left alone" says "first use"
for lie in binary:empty binary:garbage error:clCreateProgramWithBinary=-42; do
	with alone "$card $lie" "${known[@]}"
	again alone "$card $lie" "${known[@]}"
	ok "binaries that are worth nothing do not change the text ($lie)" says "Fake GPU"
done

# ---------------------------------------------------------------------------------- in mid-run

# Where the launches are a walk each; the tests' launches are the child's.
mid()
{
	with alone "$card" "${known[@]}"
	again alone "$card $1" "${known[@]}"
}
mid "lose:walk@4"
ok "a device that is lost ends the text with a sentence" fails "the step at position [0-9]+ .*CL_DEVICE_NOT_AVAILABLE.*dmesg"
ok "  ... after a part of the text" test -s "$out"
again alone "$card error:clFinish=-5@9" "${known[@]}"
ok "so does one that is reset" fails "CL_OUT_OF_RESOURCES"
again alone "$card error:clEnqueueNDRangeKernel=-4@40" "${known[@]}"
ok "so does one that runs out of memory" fails "CL_MEM_OBJECT_ALLOCATION_FAILURE"
again alone "$card error:clCreateBuffer=-4@12" "${known[@]}"
ok "so does one that has none for the model" fails "no room for"
again alone "$card lose:walk@4" bench "$model" --device 0 -n 8 -p 8 -r 1 --no-limits
ok "bench says so, too" bash -c "test $rc = 1 && tail -n 1 '$err' | grep -qE '^sherd bench: .*CL_DEVICE_NOT_AVAILABLE'"
for arg in 3 6; do
	again alone "$card flip:walk@3=$arg" "${known[@]}"
	ok "wrong numbers from some launch on end in a sentence (argument $arg)" bash -c "test $rc = 1 &&
		tail -n 1 '$err' | grep -qE '^sherd run: .*gives wrong numbers, which it did not before'"
done
again alone "$card hang:walk@4" "${known[@]}" --step-limit 2
ok "a device that hangs ends the text with a sentence" fails "step at position [0-9]+ has been running for [0-9]+ s.*hang"
if [[ -n ${SHERD_LONG:-} ]]; then
	again alone "$card hang:walk@4" bench "$model" --device 0 -n 8 -p 8 -r 1 --no-limits
	ok "a hang ends bench, too" bash -c "test $rc = 1 && tail -n 1 '$err' | grep -qE '^sherd bench: the step at position'"
	for lie in cl_khr_integer_dot_product cl_arm_integer_dot_product_accumulate_int8; do
		with both "says:$lie" "${run[@]}" --device "Fake GPU"
		ok "an extension that is not there costs a sentence, and plain code takes its place ($lie)" \
			says "plain code takes its place"
	done
fi
with alone "$card flip:walk=6" "${known[@]}"
ok "a kernel that is wrong from the start is not taken" says "walk.cl fails here"

# ------------------------------------------------------------------------ who starts children, ends them

# Processes that were started with one of the drivers here.
ours()
{
	grep -lF "OCL_ICD_VENDORS=$tmp/" /proc/[0-9]*/environ 2>/dev/null
}

until_ours() # N : at most 20 s, until there are as many
{
	for _ in {1..400}; do
		(($(ours | wc -l) == $1)) && return
		sleep 0.05
	done
	return 1
}

ok "nothing runs any more of all that was started" until_ours 0
for sig in INT KILL; do
	rm -rf "$tmp/cache"
	cp -r "$tmp/known" "$tmp/cache"
	XDG_CACHE_HOME=$tmp/cache OCL_ICD_VENDORS=$tmp/both SHERD_FAKE_ICD=hang:clGetDeviceIDs \
		env --default-signal=INT "$sherd" "${run[@]}" >"$out" 2>"$err" </dev/null &
	pid=$!
	until_ours 2
	both=$?
	kill -$sig $pid
	wait $pid 2>/dev/null
	rc=$?
	ok "SIG$sig ends the child that tries a driver, too" bash -c "test $both = 0 -a $rc = $((128 + $(kill -l $sig)))"
	ok "and nothing stays of the two" until_ours 0
done

# ------------------------------------------------------------------------- the sanitized build

sherd=$sanitized
with both "crash:clCreateContext" "${run[@]}"
ok "nothing is wrong with memory where a driver is left out" says "$left crashed"
with both "crash:clBuildProgram" "${run[@]}"
ok "nor where a device gives way to the CPU" says "(Fake GPU is not used|$cpu): the device's test crashed"
with alone "info:unterminated info:units0 error:clCreateContext=-5" "${run[@]}"
ok "nor where it computes in plain C" says "(plain C computes|the only one of .* that computes right|plain C)"

finish
