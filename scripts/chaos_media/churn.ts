/** Creates and deletes media streams for the given time, and watches memory. */
import { setTimeout as pause } from "node:timers/promises";
import { openStreamStorage } from "../../mod.ts";
import { dropSchema } from "../../src/database/migrations/mod.ts";
import { queryOnce, testDatabaseUrl } from "../../tests/support/database.ts";
import { openSession } from "../../tests/support/migration_connection.ts";
import { Random } from "../../tests/support/random.ts";
import { checkPlaces, settle } from "./check.ts";
import { checkReport } from "./check_counts.ts";
import { startChild } from "./child.ts";
import type { ChurnCounts, ChurnMessage, ChurnTask } from "./churn_process.ts";
import { idsOf } from "./contents.ts";
import { startFaultyBucket } from "./faulty_bucket.ts";
import { Ledger } from "./ledger.ts";
import { type Memory, sessionsMb } from "./memory.ts";
import type { Dialect } from "./run.ts";

/** How long and how hard the streams churn. */
export interface ChurnOptions {
  durationMs: number;
  seed: string;
  dialect: Dialect;
  streams: number;
  /** How many of 100 requests fail. */
  faults: number;
  /** How often another store takes over, in the same process. */
  takeoverMs: number;
  sampleMs: number;
  /** Ends after this number of stores, even before the time is over. */
  maxStores?: number;
  onSample?(sample: ChurnSample): void;
  onBroken?(text: string): void;
}

/** Counts and memory at one time. */
export interface ChurnSample extends ChurnCounts, Memory {
  seconds: number;
  /**
   * Memory of the server's sessions; undefined if the system does not show it.
   */
  sessionsMb: number | undefined;
  /** Size of the schema's tables and indexes. */
  tablesMb: number;
  /** Rows that record requests in flight, tasks, trimmings and deletions. */
  notes: number;
}

/** The result of a run. */
export interface ChurnReport {
  samples: ChurnSample[];
  /** What must not be; empty if everything is right. */
  broken: string[];
}

/** How many samples are kept: one a minute for a day. */
const maxSamples = 1440;

/** Makes the run in a new schema. */
export async function runChurn(options: ChurnOptions): Promise<ChurnReport> {
  const { seed, dialect, streams, takeoverMs, sampleMs } = options;
  const { maxStores = Number.MAX_SAFE_INTEGER } = options;
  const url = await testDatabaseUrl();
  const schema = `churn_${crypto.randomUUID().replaceAll("-", "")}`;
  await using bucket = await startFaultyBucket(dialect, new Random(seed));
  bucket.setFaults(options.faults);
  const report: ChurnReport = { samples: [], broken: [] };
  const broken = (text: string) => {
    if (report.broken.length >= 100) return;
    report.broken.push(text);
    options.onBroken?.(text);
  };
  const ids = idsOf(seed, streams);
  const place = { url, schema, mediaStorage: bucket.options, seed, ids };
  const task = { ...place, takeoverMs, sampleMs, maxStores };
  await runChild(task, options.durationMs, {
    broken,
    look: async (message) => {
      const sample = { ...message, ...await lookAtServer(url, schema) };
      report.samples.push(sample);
      if (report.samples.length > maxSamples) report.samples.shift();
      options.onSample?.(sample);
    },
  });
  bucket.setFaults(0);
  await bucket.quiet();
  {
    await using storage = await openStreamStorage({
      url,
      schema,
      mediaStorage: bucket.options,
      partitions: 1,
      startupDelayMs: 0,
      maxConnections: 4,
      workerConcurrency: 0,
    });
    const ledger = new Ledger();
    const scene = { url, schema, storage, bucket, ledger, ids, broken };
    await settle(scene);
    await checkPlaces(scene);
    await checkReport(scene);
  }
  await using session = await openSession(url);
  await dropSchema(session, schema);
  return report;
}

/** Runs the process that works, and looks one after another at what it says. */
async function runChild(
  task: ChurnTask,
  durationMs: number,
  { broken, look }: {
    broken(text: string): void;
    look(counts: ChurnCounts & Memory & { seconds: number }): Promise<void>;
  },
): Promise<void> {
  const started = performance.now();
  let looked = Promise.resolve();
  const child = startChild<ChurnMessage>(
    "churn_process.ts",
    task,
    (message) => {
      if (message.what === "broken") return broken(message.text);
      const { what: _what, ...counts } = message;
      looked = looked.then(() => {
        const seconds = Math.round((performance.now() - started) / 1000);
        return look({ ...counts, seconds });
      });
    },
  );
  await Promise.race([pause(durationMs), child.ended]);
  child.stop();
  const late = setTimeout(() => {
    broken("the process did not end within a minute");
    child.kill();
  }, 60_000);
  await child.ended;
  clearTimeout(late);
  await looked;
}

async function lookAtServer(
  url: string,
  schema: string,
): Promise<Pick<ChurnSample, "sessionsMb" | "tablesMb" | "notes">> {
  const [row] = await queryOnce(
    url,
    `SELECT (SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE n.nspname = '${schema}' AND c.relkind = 'r')::bigint AS bytes,
      (SELECT count(*) FROM "${schema}".stream_storage_media_changes)
        + (SELECT count(*) FROM "${schema}".stream_storage_media_tasks)
        + (SELECT count(*) FROM "${schema}".stream_storage_trimming)
        + (SELECT count(*) FROM "${schema}".stream_storage_deletions)
        AS notes`,
  );
  return {
    sessionsMb: await sessionsMb(url),
    tablesMb: Math.round(Number(row!["bytes"]) / 1e6),
    notes: Number(row!["notes"]),
  };
}
