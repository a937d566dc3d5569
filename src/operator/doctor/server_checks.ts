/** Checks of a server, regardless of what it stores. */

import { bind } from "../../database/statement.ts";
import { quoted } from "../../storage/foreign_text.ts";
import {
  fail,
  few,
  ok,
  orOk,
  type Result,
  unknown,
  warn,
} from "./diagnosis.ts";
import { type Check, type Look, numberOf, settingOf } from "./look.ts";
import {
  countTables,
  selectAges,
  selectQueueUsage,
  selectSlots,
} from "./server_sql.ts";

/** The tested major versions, as the README lists them. */
const majors = { oldest: 15, newest: 18 };

/** Checks that the server's version is a tested one. */
export function checkServer(version: string, versionNumber: number): Result {
  const major = Math.trunc(versionNumber / 10_000);
  const shown = version.split(" ")[0]!;
  if (major < majors.oldest) {
    return fail(
      `PostgreSQL ${shown} is older than the tested versions`,
      `Upgrade to PostgreSQL ${majors.oldest} or later.`,
    );
  }
  return major > majors.newest
    ? warn(
      `PostgreSQL ${shown} is newer than the tested versions`,
      "Look for a newer release of this package.",
    )
    : ok(`PostgreSQL ${shown}`);
}

/**
 * If the clocks differ by more, stored times can't be compared with our own.
 */
const maxClockMs = 5000;

/**
 * Compares the clocks. The server read its clock between `sentMs` and
 * `receivedMs` of ours, all in milliseconds since 1970.
 */
export function checkClock(
  { serverMs, sentMs, receivedMs }: {
    serverMs: number;
    sentMs: number;
    receivedMs: number;
  },
): Result {
  const apart = serverMs < sentMs
    ? serverMs - sentMs
    : Math.max(0, serverMs - receivedMs);
  const seconds = Math.round(Math.abs(apart) / 1000);
  if (Math.abs(apart) <= maxClockMs) return ok("Server and machine agree");
  return warn(
    `The server's clock is ${seconds} s ${
      apart < 0 ? "behind" : "ahead of"
    } this machine's`,
    "Let both follow NTP: object storage refuses signatures of another time, " +
      "and times in logs can't be compared.",
  );
}

const durability: Check = {
  name: "durability",
  run(look) {
    const results: Result[] = [];
    const off = ["fsync", "full_page_writes"]
      .filter((name) => settingOf(look, name) === "off");
    for (const name of off) {
      results.push(fail(
        `${name} is off: a crash of the machine may destroy the database`,
        `ALTER SYSTEM RESET ${name}; SELECT pg_reload_conf()`,
      ));
    }
    const { value, source } = look.settings.get("synchronous_commit") ??
      { value: "", source: "" };
    if (value === "off") {
      results.push(fail(
        `synchronous_commit is off (${source}): a crash loses writes that were ` +
          "acknowledged",
        "Reset it where it was set: ALTER SYSTEM, ALTER ROLE or ALTER DATABASE.",
      ));
    }
    return orOk(results, `Acknowledged writes are on disk (${value})`);
  },
};

const lockTable: Check = {
  name: "lock_table",
  async run(look) {
    const [{ rows: [row] }] = await look.ask([bind(countTables)]);
    const tables = Number(row![0]);
    const places = numberOf(look, "max_locks_per_transaction") *
      (numberOf(look, "max_connections") +
        numberOf(look, "max_prepared_transactions"));
    const found = `Room for ${places} locks, ${tables} tables`;
    return [
      places > tables * 1.2 ? ok(found) : warn(
        `${found}: pg_dump locks each of them at once`,
        `Set max_locks_per_transaction to ${
          Math.max(
            64,
            2 ** Math.ceil(Math.log2(
              tables * 2 / Math.max(1, numberOf(look, "max_connections")),
            )),
          )
        } or more, and restart the server.`,
      ),
    ];
  },
};

const notifications: Check = {
  name: "notifications",
  async run(look) {
    if (look.isStandby) return [unknown("Not visible on a standby")];
    const [{ rows: [row] }] = await look.ask([bind(selectQueueUsage)]);
    const percent = Math.round(100 * row![0]);
    const found = `The queue of notifications is ${percent} % full`;
    if (percent < 25) return [ok(found)];
    const advice =
      "End the transaction of the session that listens and stays " +
      "open (pg_stat_activity, state 'idle in transaction'): a full queue " +
      "stops every opening.";
    return [percent < 75 ? warn(found, advice) : fail(found, advice)];
  },
};

/**
 * Bytes of WAL that a slot keeps. A slot that is being read is seldom so far
 * behind.
 */
const [muchWal, tooMuchWal] = [1e9, 20e9];

const slots: Check = {
  name: "replication_slots",
  async run(look) {
    const [{ rows }] = await look.ask([bind(selectSlots)]);
    const results = rows.flatMap(([name, isActive, state, kept]) => {
      const slot = `Slot ${quoted(name)}`;
      if (state === "lost") {
        return [warn(
          `${slot} has lost WAL that its reader needs`,
          "Drop it with pg_drop_replication_slot, and set its reader up again.",
        )];
      }
      if (kept === null || (isActive && kept < muchWal)) return [];
      const found = `${slot} ${isActive ? "" : "has no reader and "}keeps ` +
        `${(kept / 1e9).toFixed(1)} GB of WAL`;
      const advice = isActive
        ? "See why its reader is slow; set max_slot_wal_keep_size."
        : "Start its reader, or drop it with pg_drop_replication_slot: WAL " +
          "grows until the disk is full.";
      return [
        kept < tooMuchWal ? warn(found, advice) : fail(found, advice),
      ];
    });
    return orOk(results, `${rows.length} slots, none keeps much`);
  },
};

/**
 * At 2^31 the server accepts no more transactions; its own warning comes only
 * 40 million before.
 */
const dangerousAge = 1_500_000_000;

const wraparound: Check = {
  name: "wraparound",
  async run(look) {
    const [{ rows }] = await look.ask([bind(selectAges)]);
    const kinds = [
      ["transactions", 1, "autovacuum_freeze_max_age"],
      ["multixacts", 2, "autovacuum_multixact_freeze_max_age"],
    ] as const;
    const results = kinds.flatMap(([what, column, setting]) => {
      // Autovacuum begins at the setting, and needs a while.
      const limit = numberOf(look, setting) * 1.25;
      const old = rows.filter((row) => row[column] > limit);
      if (old.length === 0) return [];
      const age = Math.max(...old.map((row) => row[column]));
      const found = `${
        few(old.map(([name]) => quoted(name)))
      }: ${what} up to ` +
        `${age} old, and autovacuum began at ${limit / 1.25}`;
      const advice = "VACUUM FREEZE the database; look for what holds it up: " +
        "old transactions, prepared ones, replication slots.";
      return [age < dangerousAge ? warn(found, advice) : fail(found, advice)];
    });
    const oldest = Math.max(0, ...rows.map((row) => row[1]));
    return orOk(results, `The oldest transaction is ${oldest} old, of 2^31`);
  },
};

/** In the order of `checkNames`. */
export const serverChecks: readonly Check<Look>[] = [
  durability,
  lockTable,
  notifications,
  slots,
  wraparound,
];
