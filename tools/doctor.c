/* SPDX-License-Identifier: MIT */
/*
 * doctor: says of everything that sherd could use on this machine whether it works, and if not, why
 * and what helps. Some of that is tried out, some is read from files; a system that was recorded on
 * another machine has only the files.
 */
#include <stdlib.h>
#include "doctor.h"

static const char about[] =
	"Says what sherd could use here, whether it works, and if not, why and what helps: the board, its "
	"OpenCL drivers and GPUs and who may open them; whether each OpenCL device's kernels give the right "
	"numbers, how it reads weights and shares activations; what can hold weights in memory; limits, "
	"io_uring, clocks. What it tries "
	"out is let go at once. With a model it says what its size makes of limits and memory. At the end "
	"is what would help, with the command. The exit code is 0 if an OpenCL device can compute.\n"
	"\n"
	"  sherd doctor\n"
	"  sherd doctor -m model.gguf\n"
	"  sherd doctor --quick      (compiles nothing)\n"
	"  sherd doctor --json | jq '.opencl'\n"
	"  sherd doctor --strict || echo 'something could be better'\n"
	"  scripts/record-system board && sherd doctor --system board   (on another machine)";

static int look_at_record(const struct doctor *d)
{
	sherd_root = d->system;
	if (!system_exists("/proc/self/status"))
		return tool_failf(&tool_doctor,
				  "%s: is no recorded system, for it has no file "
				  "proc/self/status: scripts/record-system makes one",
				  d->system);
	return TOOL_OK;
}

static int doctor_main(int argc, char **argv)
{
	struct doctor d = { .sample = { .fd = -1 }, .packed = { .fd = -1 }, .model = { .fd = -1 } };
	const struct opt opts[] = {
		{ 'm', "model", OPT_STR, &d.model_name, 0, 0, "MODEL",
		  "say what this model's size makes of limits and memory" },
		{ 0, "system", OPT_STR, &d.system, 0, 0, "DIR",
		  "look at a system that scripts/record-system recorded; nothing is tried" },
		{ 0, "quick", OPT_FLAG, &d.quick, 0, 0, NULL,
		  "leave out the kernels' test, for which they are compiled, once" },
		{ 0, "strict", OPT_FLAG, &d.strict, 0, 0, NULL,
		  "exit with 1 also where something could be better" },
		{ 0, "json", OPT_FLAG, &d.json, 0, 0, NULL, "print JSON" },
		{ 0 },
	};
	int rc = opt_parse(&tool_doctor, opts, &argc, argv);

	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	if (argc > 0)
		return tool_usage(&tool_doctor, "'%s' is one argument too many", argv[0]);
	if (d.system && d.model_name)
		return tool_usage(&tool_doctor, "-m does nothing with --system: limits are this "
						"machine's");
	rc = d.system ? look_at_record(&d) : doctor_try(&d);
	if (!rc) {
		doctor_look_at_system(&d);
		doctor_look_at_gpus(&d);
		doctor_look_at_clocks(&d);
		rc = doctor_report(&d);
	}
	doctor_try_end(&d);
	free(d.rows);
	return rc;
}

const struct tool tool_doctor = {
	.name = "doctor",
	.synopsis = "[-m MODEL | --system DIR] [--quick] [--strict] [--json]",
	.summary = "say what works on this machine, and what does not and why",
	.about = about,
	.main = doctor_main,
};
