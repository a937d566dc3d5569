import { Ownership } from "../database/ownership.ts";
import type { OwnershipOptions } from "../database/ownership/options.ts";
import { HomeChangedError } from "../database/cluster/home.ts";
import type { Place } from "./connections.ts";
import { StreamStorageError } from "../storage/errors.ts";
import { quoted } from "../storage/foreign_text.ts";
import { leaseMs } from "./limits.ts";
import type { ResolvedOptions } from "./resolved_options.ts";

/**
 * How often the schema may turn out to be elsewhere, one move soon after
 * another. An instance that stands by sees any number of moves.
 */
const maxTries = 20;
const soonMs = 5000;

/** Becomes the owner of a schema, as the options say. */
export async function takeOwnership(
  options: ResolvedOptions,
  place: Place,
  hooks: Pick<OwnershipOptions, "prepare" | "onEvent">,
): Promise<Ownership> {
  const { home } = place;
  for (let tries = 1;; tries++) {
    const since = performance.now();
    try {
      if (home.isDistributed) assertCanGuard(options);
      return await takeOnce(options, place, hooks);
    } catch (error) {
      options.signal?.throwIfAborted();
      if (performance.now() - since > soonMs) tries = 0;
      const isElsewhere = error instanceof HomeChangedError ||
        await home.isMoved(error);
      if (!isElsewhere || tries === maxTries) throw error;
    }
  }
}

/** The guard must see what was committed while it waited (guard.ts). */
function assertCanGuard({ schema, isolationLevel }: ResolvedOptions): void {
  if (isolationLevel === "read committed") return;
  throw new StreamStorageError({
    code: "BAD_CONFIG",
    message:
      `Schema ${quoted(schema)} is distributed: expected isolationLevel ` +
      `"read committed", got "${isolationLevel}"`,
    details: { reason: "cluster_isolation_level", schema, isolationLevel },
  });
}

function takeOnce(
  options: ResolvedOptions,
  place: Place,
  hooks: Pick<OwnershipOptions, "prepare" | "onEvent">,
): Promise<Ownership> {
  const { schema, instanceId, whenOwned, startupDelayMs, signal } = options;
  return Ownership.take({
    schema,
    home: place.home,
    instanceId,
    whenOwned,
    startupDelayMs,
    leaseMs,
    stuckWriteMs: options.operationTimeoutMs * 2,
    signal,
    connect: (signal) => place.connectOwner({ signal }),
    // An old primary also has a free lock, so the hosts are compared.
    ...(place.survey.isNeeded && { survey: () => place.survey.ask() }),
    ...hooks,
  });
}
