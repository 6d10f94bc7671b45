#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd doctor on systems that are not this one: what it sees in their files, and what it advises.
. "$(dirname "$0")/lib"

# doctor_of NAME RC: its report
doctor_of()
{
	scripts/record-system -x "tests/cli/systems/$1.txt" "$tmp/$1"
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
says "rusticl is registered, and off as long as nobody names the GPU" '^  !    panthor .*has no device as long as RUSTICL_ENABLE'
says "with what switches it on" '^     -> export RUSTICL_ENABLE=panfrost; for all users: echo .* tee -a /etc/environment$'
echo RUSTICL_ENABLE=iris,panfrost >"$tmp/panthor/env.txt"
sh_run doctor --system "$tmp/panthor"
says "with both OpenCL is registered" '^  yes  panthor .*and OpenCL for it is registered: rusticl'

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

doctor_of nvidia 0
says "an NVIDIA card is known by its driver's version" '^  yes  nvidia +an NVIDIA GPU, 535.247.01 \(/dev/nvidia0\), and OpenCL'
for node in nvidia0 nvidiactl nvidia-uvm; do
	says "and its nodes are looked at: $node" "^  yes  /dev/$node +this user may open it"
done
ok "a render node that its OpenCL does not go by is no matter" bash -c "! grep -q renderD128 '$out'"
ok "where all is there nothing needs to be mended" grep -q '^Nothing here needs to be mended' "$out"
nvidia=$tmp/nvidia
change() # change COMMAND...: what doctor says of it then
{
	rm -rf "$nvidia.changed"
	cp -r "$nvidia" "$nvidia.changed"
	(cd "$nvidia.changed" && eval "$*")
	sh_run doctor --system "$nvidia.changed"
}
change rm etc/OpenCL/vendors/nvidia.icd
says "without its .icd file there is no OpenCL, for PoCL's is the CPU's" '^  !    nvidia +an NVIDIA GPU, 535.247.01 .*without OpenCL'
says "the library is there: its file is what lacks" '-> echo libnvidia-opencl.so.1 \| sudo tee /etc/OpenCL/vendors/nvidia.icd$'
change 'rm etc/OpenCL/vendors/nvidia.icd usr/lib/x86_64-linux-gnu/libnvidia*'
says "without the library it is the package" '-> sudo apt-get install nvidia-opencl-icd$'
change 'rm usr/lib/x86_64-linux-gnu/libnvidia*'
says "an .icd file without its library is an advice" '^  !    nvidia.icd +names libnvidia-opencl.so.1, which is not there'
change 'mv usr/lib/x86_64-linux-gnu/libnvidia-opencl.so.535.*.01 usr/lib/x86_64-linux-gnu/libnvidia-opencl.so.550.54.14'
says "a library that an update has replaced is seen" '^  !    libnvidia-opencl +is 550.54.14, and the kernel module 535.247.01'
says "with what helps" '-> sudo reboot, which loads the module that fits'
change "sed -i 's/^Groups:.*/Groups:	27 1000/' proc/self/status"
says "who may not open its nodes is told so" '^  !    /dev/nvidia0 +only root and the group video may open it'
says "and how that is mended" '^     -> sudo usermod -aG video \$USER, and log in again$'
change "sed -i 's/^660 0 44/600 0 0/' dev.txt"
says "nodes of root's alone are a module's option" "-> echo 'options nvidia NVreg_DeviceFileMode=0666' \\| sudo tee /etc/modprobe.d"
change "sed -i /uvm/d dev.txt"
says "a node that is not there is an advice" '^  !    /dev/nvidia-uvm +is not there, and OpenCL wants it'
says "with the command that makes it" '-> sudo nvidia-modprobe -u -c 0'
change ': >.dockerenv; rm dev.txt'
says "in a container the card has to be given to it" '-> docker run --gpus all'
change 'rm -r proc/driver etc/OpenCL/vendors/nvidia.icd sys/class/drm; sed -i /DRIVER/d sys/bus/pci/devices/*/uevent'
says "a card that no driver has is seen on its bus" '^  !    10DE:2484 +an NVIDIA GPU, which no kernel driver has'
says "with the packages that bring one" '-> sudo apt-get install nvidia-driver nvidia-opencl-icd, and restart'
change 'rm -r proc/driver; sed -i s/=nvidia/=nouveau/ sys/class/drm/renderD128/device/uevent'
says "nouveau has no OpenCL" '^  !    nouveau +an NVIDIA GPU, by nouveau .*without OpenCL'

doctor_of raspberrypi5 1
says "a Raspberry Pi is named" '^ +board +Raspberry Pi 5 Model B'
says "its CPU has dot products" 'CPU +0xd0b, Arm dot products'
says "its GPU is a fact, for it has no OpenCL" "^       v3d +a Raspberry Pi's VideoCore; it has no OpenCL that is of use"
ok "and who may open it is no matter" bash -c "! grep -q '^  !    /dev/dri' '$out'"
says "PoCL is what computes there" '-> sudo apt-get install pocl-opencl-icd'
says "a supply that is too weak is an advice" "^  !    rpi_volt +the supply's voltage is too low"
echo 0 >"$tmp/raspberrypi5/sys/class/hwmon/hwmon2/in0_lcrit_alarm"
mkdir -p "$tmp/raspberrypi5/etc/OpenCL/vendors" "$tmp/raspberrypi5/usr/lib/aarch64-linux-gnu"
echo libpocl.so.2 >"$tmp/raspberrypi5/etc/OpenCL/vendors/pocl.icd"
: >"$tmp/raspberrypi5/usr/lib/aarch64-linux-gnu/libpocl.so.2"
sh_run doctor --system "$tmp/raspberrypi5"
ok "with PoCL and a better supply nothing needs to be mended" \
	bash -c "test $rc = 0 && grep -q '^Nothing here needs to be mended' '$out'"

doctor_of panfrost 0
says "panfrost without rusticl is an advice" '^  !    panfrost +a Mali, by the open driver panfrost \(/dev/dri/renderD128\), without OpenCL'
says "with the package, and what switches it on" '-> sudo apt-get install mesa-opencl-icd, and RUSTICL_ENABLE=panfrost'
says "who may not open its node is told so" '^  !    /dev/dri/renderD128 +only root and the group render may open it'
echo libRusticlOpenCL.so.1 >"$tmp/panfrost/etc/OpenCL/vendors/rusticl.icd"
: >"$tmp/panfrost/usr/lib/aarch64-linux-gnu/libRusticlOpenCL.so.1"
sh_run doctor --system "$tmp/panfrost"
says "with rusticl it is off" '^  !    panfrost .*has no device as long as RUSTICL_ENABLE does not name it'
echo RUSTICL_ENABLE=panfrost >"$tmp/panfrost/env.txt"
sh_run doctor --system "$tmp/panfrost"
says "until it is named" '^  yes  panfrost .*rusticl, RUSTICL_ENABLE=panfrost'

doctor_of intel 1
says "Intel's graphics without OpenCL is an advice" '^  !    i915 +an Intel GPU \(/dev/dri/renderD128\), without OpenCL'
says "with the package" '-> sudo apt-get install intel-opencl-icd$'
says "and who may open the node" '^     -> sudo usermod -aG render \$USER, and log in again$'
says "a governor that goes as high as is needed is a fact" '^       CPU 0 +governor powersave, up to 4200 MHz'

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

printf 'x\n== /etc/../../evil\nowned\n' >"$tmp/evil.txt"
scripts/record-system -x "$tmp/evil.txt" "$tmp/evil" 2>"$err"
rc=$?
ok "a recorded file writes nothing outside its folder" test $rc = 1 -a ! -e "$tmp/etc" -a ! -e "${tmp%/*}/evil"

scripts/record-system "$tmp/here" >"$tmp/said" 2>&1
sh_run doctor --system "$tmp/here"
ok "this machine can be recorded, and looked at" bash -c "test $rc -le 1 && grep -q '^ *kernel  *Linux $(uname -r)' '$out'"
cp "$out" "$tmp/recorded"
sh_run doctor --quick
ok "and the record says of its drivers what the machine says" \
	cmp <(grep -E '\.icd ' "$tmp/recorded") <(grep -E '\.icd ' "$out")
ok "a record has no names of its machine or people" bash -c "! grep -rqE '$(hostname)|$(id -un):' '$tmp/here/etc' '$tmp/here/dev.txt' 2>/dev/null"
ok "what is there already is not written over" bash -c "! scripts/record-system '$tmp/here' 2>/dev/null"
scripts/record-system "$tmp/one.txt" >"$tmp/said" 2>&1
scripts/record-system -x "$tmp/one.txt" "$tmp/one"
sh_run doctor --system "$tmp/one"
ok "one file records the same" cmp <(grep -vE 'degrees|MHz' "$out") <(grep -vE 'degrees|MHz' "$tmp/recorded")
finish
