/*
 * The record of a training run for TensorBoard: an event file with the scalars of each epoch, and
 * of the training loss on the way, under tags "loss/train", "loss/val", "learning_rate/train".
 *
 * The file is a sequence of records, all little-endian:
 *
 *     8 bytes   n, the length of the data
 *     4 bytes   masked CRC-32C of these
 *     n bytes   an Event in protobuf: wall_time (1, double), step (2, int64), and either
 *               file_version (3, "brain.Event:2"), in the first, or summary (5), whose values (1)
 *               have a tag (1) and a simple_value (2, float)
 *     4 bytes   masked CRC-32C of the data
 *
 * A CRC c is masked as (c >> 15 | c << 17) + 0xa282ead8.
 */
#ifndef GR_TRAIN_EVENTS_H
#define GR_TRAIN_EVENTS_H

#include "base/error.h"

#include <stdint.h>

/* The name that TensorBoard looks for, in a run's folder. */
#define GR_EVENTS_NAME "events.out.tfevents.0000000000.graph-runner"

struct gr_events;

/*
 * Opens the file for writing behind its first `keep` events, the version apart: 0 begins anew, and
 * a negative number keeps all but a last one that a crash cut short. path is copied. NULL and *err
 * on failure.
 */
struct gr_events *gr_events_open(const char *path, int64_t keep, struct gr_error *err);

/*
 * Writes an event of that step with the scalars, tagged "NAME/STAGE", and hands it to the system.
 * False and *err (naming the file) when it is not written yet: it will be, before the next.
 */
bool gr_events_write(struct gr_events *events, const char *stage, int64_t step,
                     const struct gr_metric *scalars, size_t count, struct gr_error *err);

/* Events, those kept and those written since; and the file's descriptor. */
int64_t gr_events_count(const struct gr_events *events);
int gr_events_fd(const struct gr_events *events);

/* As gr_append_renew. */
bool gr_events_renew(struct gr_events *events, struct gr_error *err);

/* Ends it; NULL is fine. False and *err when the system could not keep what was written. */
bool gr_events_close(struct gr_events *events, struct gr_error *err);

#endif
