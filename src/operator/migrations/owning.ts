/**
 * Owns a schema while its tables are changed. It can't open a store for that:
 * the schema may have any version, or may not exist yet.
 */

import type { Session } from "../../database/session.ts";
import { Place } from "../../postgres/connections.ts";
import { onCoordinator } from "../../postgres/on_coordinator.ts";
import {
  type ResolvedOptions,
  resolveOptions,
} from "../../postgres/resolved_options.ts";
import { takeOwnership } from "../../postgres/take_ownership.ts";
import type { OwnerOptions } from "../repair/owner.ts";

/** The longest that one statement may take: an index on a large table. */
const statementMs = 6 * 60 * 60 * 1000;

/** A session for migrations, and how to become the owner meanwhile. */
export interface Ground {
  session: Session;
  options: ResolvedOptions;
  /**
   * Runs `work` on the session, or in a cluster on one with the coordinator.
   */
  changing<T>(work: (session: Session) => Promise<T>): Promise<T>;
  /**
   * Becomes the owner for as long as `work` runs. `prepare` runs first, when
   * the table of owners may still be missing.
   */
  owning(steps: {
    prepare?: () => Promise<void>;
    work?: () => Promise<void>;
  }): Promise<void>;
}

/**
 * Runs `work` with a session for migrations and closes it afterwards.
 *
 * @throws {StreamStorageError} RESOURCE_EXHAUSTED (`schema_owned`) if the
 *   schema has an owner and the options don't allow a takeover.
 */
export async function onGround<T>(
  { takeOver = false, ...given }: OwnerOptions,
  work: (ground: Ground) => Promise<T>,
): Promise<T> {
  const options = resolveOptions({
    applicationName: "stream-migrate",
    ...given,
    whenOwned: takeOver ? "take" : "fail",
  });
  const { schema, signal } = options;
  const connect = { answerTimeoutMs: statementMs, ...(signal && { signal }) };
  const place = new Place(options);
  await place.enter();
  try {
    const session = await place.connectOwner(connect);
    try {
      return await work({
        session,
        options,
        changing: (work) =>
          onCoordinator({ place, schema, session, connect }, work),
        owning: async ({ prepare = nothing, work = nothing }) => {
          const ownership = await takeOwnership(options, place, {
            prepare,
            onEvent: () => {},
          });
          try {
            await work();
          } finally {
            await ownership.release(options.operationTimeoutMs);
          }
        },
      });
    } finally {
      await session.close();
    }
  } finally {
    place.leave();
  }
}

const nothing = () => Promise.resolve();
