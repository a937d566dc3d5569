/** Checks of a store's schema. */

import { holdersOf } from "../../database/lock_holder.ts";
import { currentVersions } from "../../database/migrations/mod.ts";
import { ownerRows } from "../../database/ownership/lock_session.ts";
import { ownerFacts } from "../../database/ownership/rows.ts";
import { ownershipSql, ownersTable } from "../../database/ownership/sql.ts";
import { bind } from "../../database/statement.ts";
import { Catalog } from "../../postgres/catalog.ts";
import { quoted } from "../../storage/foreign_text.ts";
import { schemaLockId } from "../../storage/stream_id.ts";
import { lookAtCatalogue } from "../verify/catalogue.ts";
import { distribution } from "./cluster_checks.ts";
import { showShards } from "./cluster_sql.ts";
import {
  fail,
  few,
  ok,
  orOk,
  type Result,
  unknown,
  warn,
} from "./diagnosis.ts";
import { type Check, type Look, settingOf } from "./look.ts";
import type { SchemaLook } from "./schema_look.ts";
import {
  selectDeadRows,
  selectInvalidIndexes,
  selectRights,
  selectUnnamedRows,
  selectUsage,
} from "./schema_sql.ts";

const versions: Check<SchemaLook> = {
  name: "versions",
  run({ state }) {
    const { node, own } = state.versions;
    const found = `Node track ${node || "none"}, own track ${own || "none"}`;
    if (state.dirty) {
      return [fail(
        `${found}: a migration of another program failed half-way`,
        "Repair what it left, then set schema_migrations.dirty to false.",
      )];
    }
    const { node: currentNode, own: currentOwn } = currentVersions;
    if (node > currentNode || own > currentOwn) {
      return [fail(
        `${found}: newer than this release, ${currentNode} and ${currentOwn}`,
        "Use a newer release of this package, or go back with `migrate down`.",
      )];
    }
    if (node === currentNode && own === 0) {
      return [ok(`Node track ${node}: only nodes have opened it`)];
    }
    return [
      node === currentNode && own === currentOwn ? ok(found) : warn(
        `${found}: this release works on ${currentNode} and ${currentOwn}`,
        "Run `migrate up`; a store does it by itself, unless it only checks.",
      ),
    ];
  },
};

const tables: Check<SchemaLook> = {
  name: "tables",
  async run({ schema, state, ask }) {
    if (state.versions.node !== currentVersions.node) {
      return [unknown("Only those of the current version can be compared")];
    }
    if (state.partitions === undefined) {
      return [fail(
        "The number of partitions is not stored",
        "Restore table settings from a backup, or open a store with it.",
      )];
    }
    const catalog = new Catalog(schema, state.partitions);
    const { findings } = await lookAtCatalogue({ catalog, read: ask }, schema);
    const drifts = findings.filter(({ finding }) => finding === "schema_drift");
    if (drifts.length === 0) {
      return [ok(`As this release makes them, ${state.partitions} partitions`)];
    }
    return [fail(
      few(drifts.map(({ what }) => what)),
      "Create what is missing, as `migrate print` does; `verify --quick` " +
        "lists all.",
    )];
  },
};

const indexes: Check<SchemaLook> = {
  name: "indexes",
  async run({ schema, ask }) {
    const [{ rows }] = await ask([bind(selectInvalidIndexes, schema)]);
    if (rows.length === 0) return [ok("All are valid")];
    const names = rows.map(([table, index]) =>
      `${quoted(index)} on ${quoted(table)}`
    );
    return [fail(
      `The server does not use ${few(names)}`,
      "REINDEX INDEX each of them: building it was interrupted.",
    )];
  },
};

/** Whether the store's statistics and shards are on another server. */
function isElsewhere({ home }: SchemaLook): boolean {
  return home?.isHere === false;
}

function seenAtHome({ home }: SchemaLook): Result {
  const { host, port } = home!.address;
  return unknown(`Visible only where the schema lives, on ${host}:${port}`);
}

/** Fewer dead rows cost too little to matter. */
const manyDead = 10_000n;

const deadRows: Check<SchemaLook> = {
  name: "dead_rows",
  async run(look) {
    if (isElsewhere(look)) return [seenAtHome(look)];
    const results: Result[] = ["autovacuum", "track_counts"]
      .filter((name) => settingOf(look, name) === "off")
      .map((name) =>
        fail(
          `${name} is off: dead rows are never removed`,
          `ALTER SYSTEM RESET ${name}; SELECT pg_reload_conf()`,
        )
      );
    const select = bind(selectDeadRows, look.schema, manyDead);
    const { rows } = look.home === undefined
      ? (await look.ask([select]))[0]
      : (await look.ask([bind(showShards), select]))[1];
    const leftOut = rows.filter(([, , , , isVacuumed]) => !isVacuumed)
      .map(([name]) => quoted(name));
    if (leftOut.length > 0) {
      results.push(warn(
        `Autovacuum leaves out ${few(leftOut)}`,
        "ALTER TABLE each of them RESET (autovacuum_enabled).",
      ));
    }
    // Autovacuum begins at a fifth. If half of the rows are dead, something
    // keeps autovacuum from its work.
    const full = rows.filter(([, live, dead]) =>
      dead >= manyDead && dead * 2n > live
    );
    if (full.length > 0) {
      results.push(warn(
        `More dead rows than autovacuum should leave: ${
          few(full.map(([name, live, dead, seconds]) =>
            `${name} ${dead} of ${live + dead}, vacuumed ${agoOf(seconds)}`
          ))
        }`,
        "Look for old transactions (`status` names the longest); VACUUM them.",
      ));
    }
    return orOk(results, "Autovacuum keeps up");
  },
};

function agoOf(seconds: number | null): string {
  if (seconds === null) return "never";
  return `${Math.max(0, Math.round(seconds / 3600))} h ago`;
}

const publications: Check<SchemaLook> = {
  name: "publications",
  async run({ schema, ask }) {
    const [{ rows }] = await ask([bind(selectUnnamedRows, schema)]);
    const names = [...new Set(rows.map(([name]) => quoted(name)))];
    if (names.length === 0) return [ok("None that prevents changes of rows")];
    return [fail(
      `Publication ${few(names)} includes ${
        few(rows.map(([, table]) => table))
      } without replica identity: their rows can't be changed`,
      "ALTER TABLE each of them REPLICA IDENTITY FULL, as `migrate up` does.",
    )];
  },
};

/** Tables that only migrations write to. */
const bookkeeping: ReadonlySet<string> = new Set([
  "schema_migrations",
  "stream_storage_migrations",
  "settings",
]);

/** Checks what our role may do with the tables. */
export const rights: Check<Pick<SchemaLook, keyof Look | "schema">> = {
  name: "rights",
  async run({ schema, ask }) {
    const [usage, { rows }] = await ask([
      bind(selectUsage, schema),
      bind(selectRights, schema),
    ]);
    const advice = "Give the role its rights with `migrate grants`.";
    if (usage.rows[0]?.[0] === false) {
      return [fail(`This role may not use schema ${quoted(schema)}`, advice)];
    }
    const unread = rows.filter(([, mayRead]) => !mayRead);
    if (unread.length > 0) {
      const names = unread.map(([name]) => name);
      return [fail(`This role may not read ${few(names)}`, advice)];
    }
    const work = rows.filter(([name]) => !bookkeeping.has(name));
    const unwritten = work.filter(([, , mayWrite]) => !mayWrite);
    if (unwritten.length === work.length) {
      return [ok("This role reads all tables and writes none: a reader's")];
    }
    return [
      unwritten.length === 0 ? ok("This role reads and writes") : fail(
        `This role writes some tables, but not ${
          few(unwritten.map(([name]) => name))
        }`,
        advice,
      ),
    ];
  },
};

const owner: Check<SchemaLook> = {
  name: "owner",
  async run(look) {
    if (isElsewhere(look)) return [seenAtHome(look)];
    const { schema, session, isStandby, ask } = look;
    const [{ rows }] = await ask([
      bind(ownershipSql(ownersTable(schema)).selectRows),
    ]);
    const named = ownerFacts(ownerRows({ rows }));
    if (isStandby) {
      return [unknown("On a standby the holder of the lock is not visible")];
    }
    const holders = await holdersOf(session, schemaLockId(schema));
    if (holders === undefined) return [unknown("The lock can't be looked up")];
    const [holder] = holders;
    if (named === null && holder === undefined) return [ok("Nobody")];
    if (named !== null && holder !== undefined) {
      return [ok(`${named.name}, since ${named.since}`)];
    }
    if (named !== null) {
      return [warn(
        `${named.name} is named as owner since ${named.since}, but no session ` +
          "holds the lock",
        "It died without closing: start it again, or another one.",
      )];
    }
    const who = holder!.pid === null
      ? "a prepared transaction"
      : `session ${holder!.pid} of role ${quoted(holder!.role ?? "unknown")}`;
    return [warn(
      `No owner is named, but ${who} holds the lock`,
      "A store that opens waits for it. Unless a store is just being opened, " +
        "end the session with pg_terminate_backend.",
    )];
  },
};

/** In the order of `checkNames`. */
export const schemaChecks: readonly Check<SchemaLook>[] = [
  versions,
  distribution,
  tables,
  indexes,
  deadRows,
  publications,
  rights,
  owner,
];
