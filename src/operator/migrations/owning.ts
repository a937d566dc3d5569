/**
 * Owning a schema for as long as its tables are changed. Not by opening a store:
 * the schema may be of any version, or not there yet.
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
  /** Runs `work` on the session, or on one with the coordinator of a cluster. */
  changing<T>(work: (session: Session) => Promise<T>): Promise<T>;
  /**
   * Becomes the owner and gives the schema back when `work` has ended. `prepare`
   * runs before there need be a table of owners.
   */
  owning(steps: {
    prepare?: () => Promise<void>;
    work?: () => Promise<void>;
  }): Promise<void>;
}

/**
 * Opens a session that is closed when `work` has ended.
 *
 * @throws {StreamStorageError} RESOURCE_EXHAUSTED (`schema_owned`) if the schema
 *   has an owner and is not to be taken from it.
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
