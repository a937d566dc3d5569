import { Ownership } from "../database/ownership.ts";
import type { OwnershipOptions } from "../database/ownership/options.ts";
import type { Place } from "./connections.ts";
import { leaseMs } from "./limits.ts";
import type { ResolvedOptions } from "./options.ts";

/** Becomes the owner of a schema, as the options say. */
export function takeOwnership(
  options: ResolvedOptions,
  place: Place,
  hooks: Pick<OwnershipOptions, "prepare" | "onEvent">,
): Promise<Ownership> {
  const { schema, instanceId, whenOwned, startupDelayMs, signal } = options;
  return Ownership.take({
    schema,
    instanceId,
    whenOwned,
    startupDelayMs,
    leaseMs,
    stuckWriteMs: options.operationTimeoutMs * 2,
    signal,
    connect: (signal) => place.connectOwner({ signal }),
    // An old primary has a free lock, too.
    ...(place.survey.isNeeded && { survey: () => place.survey.ask() }),
    ...hooks,
  });
}
