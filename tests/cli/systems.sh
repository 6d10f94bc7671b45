#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd doctor on systems that are not this one: what it sees in their files, and what it advises.
. "$(dirname "$0")/lib"

# unpack NAME: tests/cli/systems/NAME.txt as a folder
unpack()
{
	local path=

	mkdir "$tmp/$1"
	while IFS= read -r line; do
		if [[ $line == "== "* ]]; then
			path=$tmp/$1${line#== }
			mkdir -p "${path%/*}"
			: >"$path"
		elif [[ -n $path ]]; then
			printf '%s\n' "$line" >>"$path"
		fi
	done <"tests/cli/systems/$1.txt"
}

# doctor_of NAME RC: its report
doctor_of()
{
	unpack "$1"
	sh_run doctor --system "$tmp/$1"
	ok "$1: doctor ends with $2, and says nothing on standard error" test $rc = "$2" -a ! -s "$err"
}

says() # says "sentence" PATTERN
{
	ok "$1" grep -qE -e "$2" "$out"
}

doctor_of rk3588-libmali 0
says "the board is named" '^ +board +Radxa ROCK 5B$'
says "the CPU's dot products are seen" 'CPU +0xd05, Arm dot products$'
says "libmali is registered, and is there" '^  yes  mali.icd +names libmali.so.1$'
says "the GPU's model comes from its driver" '^  yes  mali .*Mali-G610 4 cores r0p0 0xA867 \(/dev/mali0\)'
says "who may not open /dev/mali0 is told so" '^  !    /dev/mali0 +only root and the group video may open it'
says "and what mends it" '^     -> sudo usermod -aG video \$USER, and log in again$'
says "a governor that saves power is an advice" '^  !    CPU 0 1 2 3 +the governor "conservative"'
says "with the command" '-> echo performance \| sudo tee /sys/devices/system/cpu/cpufreq/policy0/scaling_governor$'
says "a capped clock is an advice" '^  !    CPU 4 5 +is held at 1608 MHz, and can do 2400'
says "a GPU whose clock follows its work is a fact" '^       fb000000.gpu +governor simple_ondemand, 300 of 1000 MHz now'
says "slow memory is an advice" '^  !    dmc +the governor "powersave" holds it at 528 MHz of 2112'
says "a throttled CPU is an advice" '^  !    thermal-cpufreq-0 +is slowed down now, by 3 steps'
says "temperatures are facts" '^       soc-thermal +84.1 degrees'
sh_run doctor --system "$tmp/rk3588-libmali" --strict
ok "--strict ends with 1 where there is advice" test $rc = 1
sh_run doctor --system "$tmp/rk3588-libmali" --json
ok "in JSON a remedy stands with its finding" test "$(json gpu.1.finding) $(json gpu.1.remedy)" = \
	"advice sudo usermod -aG video \$USER, and log in again"
sed -i 's/^Groups:.*/Groups:	44 27/' "$tmp/rk3588-libmali/proc/self/status"
sh_run doctor --system "$tmp/rk3588-libmali"
says "a member of the group may open it" '^  yes  /dev/mali0 +this user may open it'
echo "600 0 44 /dev/mali0" >"$tmp/rk3588-libmali/dev.txt"
sh_run doctor --system "$tmp/rk3588-libmali"
says "where no group may, a udev rule is what helps" \
	"-> echo 'KERNEL==\"mali0\", MODE=\"0660\", GROUP=\"render\"' \| sudo tee /etc/udev/rules.d"

doctor_of panthor 0
says "panthor without OpenCL is an advice" '^  !    panthor +a Mali \(CSF\).* \(/dev/dri/renderD129\), without OpenCL$'
says "and what there is" '-> panthor serves Mesa; OpenCL is Mesa.s rusticl'
says "a driver that has nothing to do with it is a fact" '^       rockchip-drm +/dev/dri/renderD128: a driver that sherd'
says "a member of render may open the node" '^  yes  /dev/dri/renderD129'
: >"$tmp/panthor/etc/OpenCL/vendors/rusticl.icd"
echo libRusticlOpenCL.so.1 >"$tmp/panthor/etc/OpenCL/vendors/rusticl.icd"
: >"$tmp/panthor/usr/lib/aarch64-linux-gnu/libRusticlOpenCL.so.1"
sh_run doctor --system "$tmp/panthor"
says "with rusticl OpenCL is registered" '^  yes  panthor .*and OpenCL for it is registered'

doctor_of jetson 1
says "no OpenCL driver at all is a problem" '^  !!   none +no driver is registered there'
says "and what mends it" '-> sudo apt-get install pocl-opencl-icd'
says "a Jetson is known by its release" "^  !    tegra +a Jetson's GPU, # R36 \(release\)"
says "and what runs there" '-> there is no OpenCL from NVIDIA for Jetsons: PoCL built with ENABLE_CUDA=ON'
says "nodes that may be read only are not enough" '^  !    /dev/nvmap +only root may open it'

doctor_of docker 0
says "a container is named" '^       container +this runs in one'
says "a driver's file without its library is an advice" '^  !    intel.icd +names /usr/lib/x86_64-linux-gnu/.*, which is not there'
says "an empty one too" '^  !    empty.icd +is empty'
says "io_uring that is forbidden is an advice" '^  !    io_uring_disabled +is 2: nobody may use io_uring'
says "with the command" '-> sudo sysctl kernel.io_uring_disabled=0'
says "a seccomp filter is a fact" '^       seccomp +a filter is in force'
says "root may open what it likes" '^  yes  /dev/dri/renderD128'
says "a CPU without dot products is told what that costs" 'AMD Ryzen 7 PRO 5750GE, without int8 dot products'

printf 'DRIVER=\033[2Jevil\377\n' >"$tmp/docker/sys/class/drm/renderD128/device/uevent"
head -c 100000 /dev/urandom >"$tmp/docker/proc/cpuinfo"
head -c 5000 /dev/urandom >"$tmp/docker/etc/OpenCL/vendors/intel.icd"
echo "999999999999999999999 x" >"$tmp/docker/dev.txt"
printf 'Hardware\t:\nCPU part\t:' >"$tmp/panthor/proc/cpuinfo" # and no line's end
sh_run doctor --system "$tmp/panthor"
says "a CPU of which nothing is said is one all the same" '^ +CPU +a CPU, without int8 dot products'
sh_run doctor --system "$tmp/docker" --json
ok "what is in a recorded file commands no terminal, and is JSON all the same" \
	bash -c "test $rc = 0 && ! grep -q \$'\\033' '$out' && test -n '$(json machine.0.name)'"
refuses "a folder that is no system is refused" 1 "is no recorded system" doctor --system tests
refuses "a model has no place beside a recorded system" 2 "does nothing with --system" doctor --system "$tmp/docker" -m x

scripts/record-system "$tmp/here" >"$tmp/said" 2>&1
sh_run doctor --system "$tmp/here"
ok "this machine can be recorded, and looked at" bash -c "test $rc -le 1 && grep -q '^ *kernel  *Linux $(uname -r)' '$out'"
cp "$out" "$tmp/recorded"
sh_run doctor
ok "and the record says of its drivers what the machine says" \
	cmp <(grep -E '\.icd ' "$tmp/recorded") <(grep -E '\.icd ' "$out")
ok "a record has no names of its machine or people" bash -c "! grep -rqE '$(hostname)|$(id -un):' '$tmp/here/etc' '$tmp/here/dev.txt' 2>/dev/null"
ok "what is there already is not written over" bash -c "! scripts/record-system '$tmp/here' 2>/dev/null"
finish
