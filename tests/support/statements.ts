/** Every statement over the tables of a schema. */
import type { Statement } from "../../src/database/statement.ts";
import { Catalog, type OwnTables } from "../../src/postgres/catalog.ts";
import * as candidates from "../../src/postgres/sql/candidates.ts";
import * as counts from "../../src/postgres/sql/counts.ts";
import * as deletions from "../../src/postgres/sql/deletions.ts";
import * as ephemeralAges from "../../src/postgres/sql/ephemeral_ages.ts";
import * as external from "../../src/postgres/sql/external.ts";
import * as mediaChanges from "../../src/postgres/sql/media_changes.ts";
import * as mediaTasks from "../../src/postgres/sql/media_tasks.ts";
import * as miniblocks from "../../src/postgres/sql/miniblocks.ts";
import * as minipools from "../../src/postgres/sql/minipools.ts";
import * as quotas from "../../src/postgres/sql/quotas.ts";
import * as offloading from "../../src/postgres/sql/offloading.ts";
import * as reading from "../../src/postgres/sql/reading.ts";
import * as state from "../../src/postgres/sql/state.ts";
import * as strays from "../../src/postgres/sql/strays.ts";
import * as trimming from "../../src/postgres/sql/trimming.ts";
import * as streamLocks from "../../src/postgres/sql/stream_locks.ts";
import * as streams from "../../src/postgres/sql/streams.ts";

const modules = {
  candidates,
  counts,
  deletions,
  ephemeralAges,
  external,
  mediaChanges,
  mediaTasks,
  miniblocks,
  minipools,
  quotas,
  offloading,
  reading,
  state,
  strays,
  streamLocks,
  streams,
  trimming,
};
const suffix = "r00";
/** Only media partitions have tables of blocks in object storage. */
const mediaModules = new Set(["external", "offloading"]);

/** The statements by name, in one partition, without those that copy rows. */
export function statements(
  schema: string,
  own: OwnTables = "current",
): [string, Statement][] {
  const catalog = new Catalog(schema, 1, own);
  return Object.entries(modules).flatMap(([file, module]) =>
    Object.entries(module).flatMap(([name, make]): [string, Statement][] => {
      if (typeof make !== "function" || make.length !== 1) return [];
      const partition = mediaModules.has(file) ? "m00" : suffix;
      const made = catalog.at(partition, make as never) as Statement | string;
      if (typeof made === "string") return []; // a part of other statements
      return made.text.startsWith("COPY") ? [] : [[`${file}.${name}`, made]];
    })
  );
}
