/* Memory: work done again to save it, and how near its end is. */
#include "report/rules.h"

static double free_bytes(const struct facts *facts)
{
    const struct report_cell *cell = facts->cell;
    if (facts->attached) /* what its allocator holds is free to it */
        return is_known_u64(cell->program.room_bytes) && cell->program.room_bytes ? (double)cell->program.room_bytes
                                                                                  : UNKNOWN_DOUBLE;
    if (is_known_u64(cell->memory.device_free) && cell->memory.device_free)
        return (double)cell->memory.device_free;
    return is_known_u64(cell->device.free_bytes) && cell->device.free_bytes ? (double)cell->device.free_bytes
                                                                            : UNKNOWN_DOUBLE;
}

/* Planned, of all ranks that share the memory; of an attached program what its tensors on the card held at most. */
static double needed_bytes(const struct facts *facts)
{
    const struct report_memory *memory = &facts->cell->memory;
    const struct program_facts *program = &facts->cell->program;
    if (facts->attached && program->steps && is_known_u64(program->peak_bytes) && program->peak_bytes)
        return (double)program->peak_bytes;
    if (!facts->attached && is_known_u64(memory->planned_total) && memory->planned_total)
        return ((double)memory->planned_total + (is_known_u64(memory->workspace) ? (double)memory->workspace : 0)) *
               cell_ranks_together(&facts->cell->requested);
    return UNKNOWN_DOUBLE;
}

/* Kept for backward: planned; of an attached program as one step of its outermost modules showed. */
static double saved_bytes(const struct facts *facts)
{
    const struct report_cell *cell = facts->cell;
    double sum = 0;
    if (!facts->attached)
        return is_known_u64(cell->memory.by_kind[TENSOR_SAVED]) ? (double)cell->memory.by_kind[TENSOR_SAVED]
                                                                : UNKNOWN_DOUBLE;
    for (size_t l = 0; l < cell->layer_count; l++)
        if (cell->layers[l].parent < 0 && is_known_u64(cell->layers[l].saved_bytes))
            sum += (double)cell->layers[l].saved_bytes;
    return sum > 0 ? sum : UNKNOWN_DOUBLE;
}

static bool is_again(const struct report_kernel *kernel)
{
    return kernel->phase == PHASE_RECOMPUTE;
}

/* With blocks recomputed backward runs their forward pass once more: where the plan does not tell the two apart, its FLOPs do. */
static bool recompute(const struct facts *facts, struct finding *finding)
{
    const bool asked = !facts->attached && facts->cell->requested.checkpoint != 0;
    double share = share_of(facts, filtered_ns(facts, is_again));
    const double used = needed_bytes(facts) / free_bytes(facts);
    if (asked && !(share > 0)) {
        const double forward = phase_ns(facts, PHASE_FWD);
        share = share_of(facts, forward);
    }
    if (!(share >= RECOMPUTE_LEAST) || (is_known(used) && used > MEMORY_ROOMY))
        return false;
    evidence_add(facts, finding, "forward work done again", share * 100, "% of the step", EVIDENCE_MEASURED);
    if (is_known(used))
        evidence_add(facts, finding, facts->attached ? "memory" : "planned memory", used * 100, "% of what was free",
                     facts->attached ? EVIDENCE_MEASURED : EVIDENCE_MODELLED);
    finding->sentence =
        is_known(used)
            ? sentence(facts, "Recomputing activations takes %.0f %% of the step, and memory is %.0f %% used.",
                       share * 100, used * 100)
            : sentence(
                  facts,
                  "Recomputing activations takes %.0f %% of the step. Cannot tell whether memory leaves room, because "
                  "it was not measured.",
                  share * 100);
    finding->confidence = is_known(used) ? CONFIDENCE_LIKELY : CONFIDENCE_POSSIBLE;
    finding->gain = share;
    finding->view = SHOWN_IN_MEMORY;
    return true;
}

static bool memory(const struct facts *facts, struct finding *finding)
{
    const struct report_cell *cell = facts->cell;
    const double used = needed_bytes(facts) / free_bytes(facts);
    const double saved = saved_bytes(facts);
    if (cell->status != STATUS_OOM && !(used >= MEMORY_NEAR))
        return false;
    evidence_add(facts, finding, facts->attached ? "tensors at their most" : "planned memory",
                 needed_bytes(facts) / 0x1p20, "MiB", facts->attached ? EVIDENCE_MEASURED : EVIDENCE_MODELLED);
    evidence_add(facts, finding, facts->attached ? "free, and held by its allocator" : "free before the run",
                 free_bytes(facts) / 0x1p20, "MiB", facts->attached ? EVIDENCE_SAMPLED : EVIDENCE_MEASURED);
    evidence_add(facts, finding, "kept for backward", saved / 0x1p20, "MiB",
                 facts->attached ? EVIDENCE_MEASURED : EVIDENCE_MODELLED);
    const char *keeps = " Cannot tell what checkpointing gives back, because what is kept for backward was not seen.";
    if (is_known(saved))
        keeps = sentence(facts,
                         " Checkpointing gives back at most %.0f MiB, half the batch half of that: what is kept for "
                         "backward.",
                         saved / 0x1p20);
    if (cell->status == STATUS_OOM)
        finding->sentence = sentence(facts, "Out of memory.%s", keeps);
    else
        finding->sentence =
            sentence(facts, "Memory is %.0f %% used, so that a little more of it ends the run.%s", used * 100, keeps);
    finding->view = SHOWN_IN_MEMORY;
    return true;
}

static const uint64_t *thirds_of(const struct facts *facts, bool *on_card)
{
    const struct program_facts *program = &facts->cell->program;
    *on_card = is_known_u64(program->device_bytes[0]) && is_known_u64(program->device_bytes[2]);
    return *on_card ? program->device_bytes : program->resident;
}

/* Bytes that are more in each third of the steps than in the one before. */
bool memory_grows(const struct facts *facts)
{
    bool on_card;
    const uint64_t *thirds = thirds_of(facts, &on_card);
    if (!facts->cell->program.steps || !is_known_u64(thirds[0]) || !is_known_u64(thirds[1]) || !is_known_u64(thirds[2]))
        return false;
    const double first = (double)thirds[0], middle = (double)thirds[1], last = (double)thirds[2];
    const double grown = last - first;
    return grown >= GROWTH_LEAST * first && grown >= GROWTH_LEAST_BYTES && middle - first >= 0.25 * grown &&
           last - middle >= 0.25 * grown;
}

static bool creep(const struct facts *facts, struct finding *finding)
{
    const struct program_facts *program = &facts->cell->program;
    bool on_card;
    const uint64_t *thirds = thirds_of(facts, &on_card);
    if (!memory_grows(facts))
        return false;
    const double first = (double)thirds[0], last = (double)thirds[2], grown = last - first;
    const double step = grown / (2.0 / 3 * (double)program->steps);
    evidence_add(facts, finding, "memory, first third of the steps", first / 0x1p20, "MiB", EVIDENCE_SAMPLED);
    evidence_add(facts, finding, "last third", last / 0x1p20, "MiB", EVIDENCE_SAMPLED);
    evidence_add(facts, finding, "growth", step / 0x1p20, "MiB a step", EVIDENCE_SAMPLED);
    finding->sentence = sentence(
        facts,
        "Memory grows: %s holds %.0f MiB in the last third of the steps, %.0f in the first: %.3g MiB more with each "
        "step.",
        on_card ? "the card" : "the process", last / 0x1p20, first / 0x1p20, step / 0x1p20);
    finding->view = SHOWN_IN_MEMORY;
    return true;
}

static bool allocator(const struct facts *facts, struct finding *finding)
{
    const struct program_facts *program = &facts->cell->program;
    if (!program->steps || !program->allocator_retries)
        return false;
    evidence_add(facts, finding, "times that the allocator gave its cache back", (double)program->allocator_retries, "",
                 EVIDENCE_MEASURED);
    evidence_add(facts, finding, "reserved", (double)program->reserved_bytes / 0x1p20, "MiB", EVIDENCE_SAMPLED);
    if (is_known_u64(program->device_bytes[2]))
        evidence_add(facts, finding, "in tensors when a step ends", (double)program->device_bytes[2] / 0x1p20, "MiB",
                     EVIDENCE_SAMPLED);
    finding->sentence = sentence(facts,
                                 "The card's memory is short or in pieces: %llu times the allocator gave its cache "
                                 "back to go on, and waited for the card.",
                                 (unsigned long long)program->allocator_retries);
    finding->view = SHOWN_IN_MEMORY;
    return true;
}

/* Several batches a step, with room for larger ones. A batch of all their rows takes no less than one of them does: the others' time, but
 * for the optimizer, is the most that it can give. Whether it does, their times alone do not say. */
static bool accumulation(const struct facts *facts, struct finding *finding)
{
    const struct program_facts *program = &facts->cell->program;
    const uint64_t memory = facts->cell->device.memory_bytes;
    if (!program->steps || !facts->on_card || !is_known_u64(program->batches) || program->batches < 2 ||
        !is_known_u64(memory) || !memory || !program->reserved_bytes || !is_known_u64(program->reserved_bytes))
        return false;
    const double used = (double)program->reserved_bytes / (double)memory;
    if (!(used <= ACCUMULATED_ROOM))
        return false;
    evidence_add(facts, finding, "calls of the outermost module", (double)program->batches, "a step",
                 EVIDENCE_MEASURED);
    evidence_add(facts, finding, "the card's memory, reserved", used * 100, "%", EVIDENCE_SAMPLED);
    finding->sentence = sentence(facts,
                                 "The model is called %.0f times a step, likely to add gradients up, while %.0f %% of "
                                 "the card's memory is used: larger batches would fit. One of all rows takes no less "
                                 "than one of these; cannot tell how much more, because none was measured.",
                                 (double)program->batches, used * 100);
    finding->gain = (1 - 1 / (double)program->batches) * (1 - fmax(0, share_of(facts, phase_ns(facts, PHASE_OPT))));
    evidence_add(facts, finding, "optimizer", share_of(facts, phase_ns(facts, PHASE_OPT)) * 100, "% of the step",
                 EVIDENCE_MEASURED);
    finding->confidence = CONFIDENCE_POSSIBLE;
    finding->view = SHOWN_IN_MEMORY;
    return true;
}

const struct rule rules_memory[] = {
    {"recompute", "work done again takes 5 % of the step and at most 60 % of free memory is planned",
     "No checkpointing, or of fewer blocks", "the run does not fit without it", false, recompute},
    {"memory", "out of memory, or 90 % of what was free is planned or, of an attached program, in tensors at a time",
     "Checkpointing, or a smaller batch", "the run's peak stays below what is free for as long as it runs", true,
     memory},
    {"creep",
     "of an attached program, memory is 10 % and 32 MiB more in the last third of the steps than in the first, and in "
     "between in the second",
     "Look for lists that keep losses or outputs with their graphs: .item() or .detach() before they are kept",
     "it stays level in a longer run", false, creep},
    {"allocator", "the card's allocator gave its cache back to go on",
     "A smaller batch, checkpointing, or PYTORCH_ALLOC_CONF=expandable_segments:True",
     "the steps in which it happens take no longer", true, allocator},
    {"accumulation",
     "an attached program calls its outermost module 2 times a step and more, with half of the card's memory free",
     "Fewer and larger batches a step", "a step of larger batches takes as long", false, accumulation},
};
RULE_TABLE(rules_memory);
