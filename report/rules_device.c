/* The machine: its clock, its power, and who else is on it. */
#include "report/rules.h"
#include <string.h>

static bool throttle(const struct facts *facts, struct finding *finding)
{
    const struct device_telemetry *state = &facts->cell->telemetry;
    const double clock = state->sm_clock_mhz / facts->cell->device.clock_mhz;
    const double power = state->power_w / state->power_limit_w;
    const bool slow = state->sm_clock_mhz > 0 && facts->cell->device.clock_mhz > 0 && clock < CLOCK_LOW;
    const bool full = state->power_limit_w > 0 && power >= POWER_NEAR;
    if (!facts->on_card || (!state->throttle[0] && !(slow && full)))
        return false;
    evidence_add(facts, finding, "clock", state->sm_clock_mhz, "MHz", EVIDENCE_SAMPLED);
    evidence_add(facts, finding, "power", state->power_w, "W", EVIDENCE_SAMPLED);
    evidence_add(facts, finding, "temperature", state->temperature_c, "°C", EVIDENCE_SAMPLED);
    if (slow)
        finding->gain = share_of(facts, facts->busy) * (1 - clock);
    finding->sentence = sentence(facts, "The card holds its clock down%s%s.",
                                 state->throttle[0] ? ": " : " at its power limit", state->throttle);
    finding->view = SHOWN_IN_RUNS;
    return true;
}

static bool others(const struct facts *facts, struct finding *finding)
{
    const uint32_t count = facts->cell->telemetry.other_processes;
    if (!count || count == UNKNOWN_U32)
        return false;
    evidence_add(facts, finding, "other processes on the device", count, "", EVIDENCE_SAMPLED);
    finding->sentence = sentence(facts, "%u other process%s on the device.", count, count == 1 ? " is" : "es are");
    finding->view = SHOWN_IN_RUNS;
    return true;
}

static bool steal(const struct facts *facts, struct finding *finding)
{
    const double stolen = steal_of(facts->cell);
    if (facts->on_card || !(stolen >= STEAL_LEAST))
        return false;
    evidence_add(facts, finding, "time stolen", stolen * 100, "% of the processors'", EVIDENCE_MEASURED);
    finding->sentence =
        sentence(facts, "The machine is shared: %.1f %% of the processors' time went to other guests.", stolen * 100);
    finding->gain = stolen;
    finding->view = SHOWN_IN_RUNS;
    return true;
}

/* Other programs on this machine, where they leave no processor idle: what they took is the most that the run can have lost. */
static bool neighbours(const struct facts *facts, struct finding *finding)
{
    const struct machine_use *use = &facts->cell->use;
    const double own = 1 - use->others - use->idle - use->steal;
    if (facts->on_card || !(use->others >= OTHERS_LEAST) || !(use->idle <= IDLE_CROWDED) || !(own > 0))
        return false;
    evidence_add(facts, finding, "other programs", use->others * 100, "% of the processors' time", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "this run", own * 100, "% of it", EVIDENCE_MEASURED);
    evidence_add(facts, finding, "idle", use->idle * 100, "% of it", EVIDENCE_MEASURED);
    finding->sentence = sentence(
        facts,
        "Other programs use %.0f %% of the processors' time and leave %.0f %% idle, so that the run waits for them.",
        use->others * 100, use->idle * 100);
    finding->gain = use->others / (own + use->others);
    finding->view = SHOWN_IN_RUNS;
    return true;
}

static bool quota(const struct facts *facts, struct finding *finding)
{
    const double stopped = facts->cell->use.throttled;
    if (!(stopped >= QUOTA_LEAST))
        return false;
    evidence_add(facts, finding, "stopped by the quota", stopped * 100, "% of the time", EVIDENCE_MEASURED);
    finding->sentence = sentence(
        facts, "The control group's quota of processors stops the run for %.0f %% of the time.", stopped * 100);
    finding->gain = stopped;
    finding->view = SHOWN_IN_RUNS;
    return true;
}

const struct rule rules_device[] = {
    {"throttle", "a card says that it is throttled, or is at 97 % of its power limit and below 90 % of its clock",
     "Cooling, a higher limit, or less work a step", "the clock is as low with another program", false, throttle},
    {"others", "another process is on the device", "The device for this run alone", "the step takes as long without it",
     false, others},
    {"steal", "of a virtual machine at least 2 % of the processors' time is taken", "A machine that is not shared",
     "steal is as high while nothing runs", false, steal},
    {"neighbours", "other programs take 5 % of the processors' time and leave at most 15 % idle",
     "The machine for this run alone", "the step takes as long without them", false, neighbours},
    {"quota", "a control group's quota stops the run for 5 % of the time",
     "A larger quota, or no more threads and loader workers than it feeds",
     "the step takes as long with a larger quota", false, quota},
};
RULE_TABLE(rules_device);
