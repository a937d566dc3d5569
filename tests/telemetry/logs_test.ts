/**
 * Log events: each is logged once a cause, however many calls the cause affects.
 * Outages happen on a real server behind a proxy.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { toStorageError } from "../../src/database/failures.ts";
import { PgError } from "../../src/database/pg_error.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { PostgresStreamStorage } from "../../src/postgres/postgres_stream_storage.ts";
import { StreamStorageError } from "../../src/storage/errors.ts";
import {
  type LogEvent,
  logEvents,
  type Logger,
} from "../../src/telemetry/log_events.ts";
import { attributes, metrics } from "../../src/telemetry/names.ts";
import { StoreTelemetry } from "../../src/telemetry/store_telemetry.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { startProxy } from "../support/network/proxy.ts";
import { openTestStorage } from "../support/storage.ts";
import { until } from "../support/until.ts";

const data = new Uint8Array([1]);
const genesis = { number: 0n, data, snapshot: data };

/** A logger that keeps its events. */
function captureLog() {
  const events: LogEvent[] = [];
  const logger: Logger = (event) => events.push(event);
  const of = (code: string) => events.filter((event) => event.code === code);
  const codes = () => events.map(({ code }) => code);
  return { events, logger, of, codes };
}

function telemetryOf(logger: Logger, hasRoom = () => true): StoreTelemetry {
  const telemetry = new StoreTelemetry({ database: "d", schema: "s", logger });
  const state = { waiting: 0, waitingBytes: 0, busySlots: 0 };
  telemetry.watchQueue({ state }, hasRoom);
  telemetry.close();
  return telemetry;
}

/** Ends a write transaction, with this error if there is one. */
function endWrite(telemetry: StoreTelemetry, error?: StreamStorageError): void {
  telemetry.transactions.ended({
    name: "writeEvent",
    mode: "write",
    outcome: error === undefined ? "committed" : "rolled_back",
    since: performance.now(),
    ...(error === undefined ? {} : { error }),
  });
}

function endCall(telemetry: StoreTelemetry, error?: unknown): void {
  const operation = telemetry.operations.of("writeEvent");
  if (error === undefined) operation.succeeded(performance.now(), undefined);
  else operation.failed(performance.now(), undefined, error);
}

describe("An outage", () => {
  it("that fails 1000 calls is logged when it begins and when it ends", async () => {
    const log = captureLog();
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      logger: log.logger,
      ephemeralSweepIntervalMs: 0,
      retry: { attempts: 3, minDelayMs: 1, maxDelayMs: 5 },
    });
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await storage.getLastMiniblockNumber(id);
    proxy.refuse(true);
    proxy.cutAll();
    const calls = Array.from(
      { length: 1000 },
      (_, i) =>
        i % 40 > 0
          ? storage.getLastMiniblockNumber(id)
          : storage.writeEvent(id, 1n, i, data),
    );
    const ends = await Promise.allSettled(calls);
    assert.ok(ends.every(({ status }) => status === "rejected"));
    assert.deepEqual(log.of("database_available"), []);
    // The lock session fails a second time, which must not be logged again.
    await until(() => log.of("ownership_session_retry").length > 0);
    const before = proxy.counts.attempts;
    await until(() => proxy.counts.attempts > before);
    proxy.refuse(false);
    await storage.getLastMiniblockNumber(id);
    await until(() => log.of("ownership_session_back").length > 0);
    for (const code of new Set(log.codes())) {
      assert.equal(log.of(code).length, 1, code);
    }
    // This event depends on whether a write had been sent.
    const codes = log.codes().filter((code) =>
      code !== "ownership_epoch_raised"
    );
    assert.deepEqual([...codes].sort(), [
      "connection_lost",
      "database_available",
      "database_unavailable",
      "ownership_session_back",
      "ownership_session_lost",
      "ownership_session_retry",
      "ownership_taken",
    ]);
    const [unavailable] = log.of("database_unavailable");
    assert.equal(unavailable?.level, "error");
    assert.equal(unavailable?.details?.["reason"], "connection_failed");
    const [available] = log.of("database_available");
    assert.equal(available?.details?.["failedCalls"], 1000);
    assert.ok(Number(available?.details?.["failedAttempts"]) >= 1);
    const [back] = log.of("ownership_session_back");
    assert.ok(Number(back?.details?.["failedAttempts"]) >= 1);
  });

  it("is not logged if only connections are lost, which is logged once", async () => {
    const log = captureLog();
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({
      url: proxy.url,
      logger: log.logger,
    });
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    await Promise.all(
      Array.from({ length: 9 }, () => storage.getLastMiniblockNumber(id)),
    );
    proxy.cutAll();
    await storage.getLastMiniblockNumber(id);
    await until(() => log.of("ownership_session_back").length > 0);
    assert.equal(log.of("connection_lost").length, 1);
    assert.deepEqual(log.of("database_unavailable"), []);
  });

  it("is not logged when closing ends the connections", async () => {
    const log = captureLog();
    const test = await openTestStorage({ logger: log.logger });
    await test.storage.createStreamStorage(newStreamId(), genesis);
    await test[Symbol.asyncDispose]();
    assert.deepEqual(log.codes(), ["ownership_taken"]);
  });
});

describe("One event each, with what it cost, reports", () => {
  it("that the database refuses writes, and that it accepts them again", () => {
    for (const sqlState of ["25006", "53100", "53200", "53000", "53400"]) {
      const log = captureLog();
      const telemetry = telemetryOf(log.logger);
      const error = toStorageError(
        new PgError(new Map([["C", sqlState], ["M", "no"]]), 0),
      );
      for (let i = 0; i < 5; i++) endWrite(telemetry, error);
      endWrite(telemetry);
      endWrite(telemetry);
      assert.deepEqual(log.codes(), ["writes_refused", "writes_accepted"]);
      assert.equal(log.events[0]?.details?.["reason"], error.details["reason"]);
      assert.equal(log.events[1]?.details?.["refusedWrites"], 5);
      endWrite(telemetry, error);
      assert.equal(log.of("writes_refused").length, 2);
    }
  });

  it("that queues are full, and that there is room again", () => {
    for (const reason of ["pool_queue_full", "write_queue_full"]) {
      const log = captureLog();
      let hasRoom = false;
      const telemetry = telemetryOf(log.logger, () => hasRoom);
      const error = new StreamStorageError({
        code: "RESOURCE_EXHAUSTED",
        message: "Full",
        details: { reason },
      });
      for (let i = 0; i < 3; i++) {
        endCall(telemetry, error);
        endCall(telemetry);
      }
      assert.deepEqual(log.codes(), ["overloaded"]);
      hasRoom = true;
      endCall(telemetry);
      endCall(telemetry);
      assert.deepEqual(log.codes(), ["overloaded", "overload_over"]);
      assert.equal(log.events[1]?.details?.["refusedCalls"], 3);
    }
  });

  it("an outage, with the number of calls whose outcome it left unknown", () => {
    const log = captureLog();
    const telemetry = telemetryOf(log.logger);
    const error = new StreamStorageError({
      code: "UNAVAILABLE",
      message: "Gone",
      outcome: "unknown",
    });
    endCall(telemetry, error);
    telemetry.database.connectFailed(error);
    telemetry.database.connectFailed(error);
    assert.equal(telemetry.database.isAvailable, false);
    endCall(telemetry, error);
    endCall(
      telemetry,
      new StreamStorageError({ code: "NOT_FOUND", message: "" }),
    );
    telemetry.database.connected();
    telemetry.database.connected();
    assert.equal(telemetry.database.isAvailable, true);
    const [, { details } = assert.fail(), ...more] = log.events;
    assert.deepEqual(more, []);
    assert.equal(details?.["failedAttempts"], 2);
    assert.equal(details?.["failedCalls"], 1);
    assert.equal(details?.["unknownOutcomes"], 1);
  });
});

describe("Ownership that passes to another instance", () => {
  it("is logged by both, and the former owner reports that it has stopped", async () => {
    const [former, next] = [captureLog(), captureLog()];
    await using test = await openTestStorage({
      logger: former.logger,
      ephemeralSweepIntervalMs: 0,
    });
    const { storage, url, schema } = test;
    const stateOf = (of: PostgresStreamStorage) =>
      of.metrics().find(({ definition }) =>
        definition === metrics.ownershipStatus
      )!.samples.filter(({ value }) => value === 1)
        .map((sample) => sample.attributes[attributes.ownershipState]);
    assert.deepEqual(stateOf(storage), ["owner"]);
    await using taker = await openStreamStorage({
      url,
      schema,
      partitions: storage.partitions,
      startupDelayMs: 0,
      maxConnections: 3,
      logger: next.logger,
    });
    assert.equal(storage.signal.aborted, true);
    assert.deepEqual(stateOf(storage), ["stopped"]);
    assert.deepEqual(stateOf(taker), ["owner"]);
    for (let i = 0; i < 3; i++) {
      await assert.rejects(storage.getLastMiniblockNumber(newStreamId()));
    }
    assert.deepEqual(former.codes(), ["ownership_taken", "ownership_lost"]);
    assert.deepEqual(next.codes(), ["ownership_takeover", "ownership_taken"]);
  });
});

describe("A logger", () => {
  const fault = () => new Error("The logger's own fault");
  const faulty: Record<string, Logger> = {
    throws: () => {
      throw fault();
    },
    rejects: () => Promise.reject(fault()),
  };
  for (const [how, logger] of Object.entries(faulty)) {
    it(`that ${how} makes no call fail`, async () => {
      await using test = await openTestStorage({ logger });
      await test.storage.createStreamStorage(newStreamId(), genesis);
    });
  }

  it("gets the event's level and meaning from the table", () => {
    const log = captureLog();
    telemetryOf(log.logger).log.emit("overloaded");
    assert.deepEqual(log.events, [{
      level: logEvents.overloaded.level,
      code: "overloaded",
      message: logEvents.overloaded.meaning,
    }]);
  });
});
