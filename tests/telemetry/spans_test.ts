/** The spans of a store on a real server, as an OpenTelemetry SDK gets them. */
import {
  context,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base";
import assert from "node:assert/strict";
import { after, describe, it } from "node:test";
import { attributes, spans } from "../../src/telemetry/names.ts";
import { newStreamId } from "../../src/testing/contract/support.ts";
import { testDatabaseUrl } from "../support/database.ts";
import {
  type InMemoryTelemetry,
  installTelemetry,
} from "../support/telemetry/in_memory_telemetry.ts";
import { startProxy } from "../support/network/proxy.ts";
import { openTestStorage } from "../support/storage.ts";

const secret = new TextEncoder().encode("the-payload-of-a-stream");
const genesis = { number: 0n, data: secret, snapshot: secret };

/** Runs the body inside a span of its own. */
async function below<T>(
  name: string,
  body: (parent: Span) => Promise<T>,
): Promise<T> {
  const parent = trace.getTracer("test").startSpan(name);
  try {
    return await context.with(
      trace.setSpan(context.active(), parent),
      () => body(parent),
    );
  } finally {
    parent.end();
  }
}

function only(all: readonly ReadableSpan[], operation: string): ReadableSpan {
  const found = all.filter((span) =>
    span.attributes[attributes.operation] === operation
  );
  assert.equal(found.length, 1, `${found.length} spans of ${operation}`);
  return found[0]!;
}

describe("A call's span", () => {
  const sdk: InMemoryTelemetry = installTelemetry();
  after(() => sdk[Symbol.asyncDispose]());

  it("is a client span inside the caller's, with the attributes of the table", async () => {
    await using test = await openTestStorage();
    const { storage, schema } = test;
    const id = newStreamId();
    sdk.takeSpans();
    const parent = await below("request", async (parent) => {
      await storage.createStreamStorage(id, genesis);
      await storage.writeEvent(id, 1n, 0, secret);
      await storage.readStreamFromLastSnapshot(id, 0);
      for await (const _ of storage.streamMiniblocks(id, 0n, 5n)) break;
      await storage.maintenance.sweepEphemeralStreams({ dryRun: true });
      return parent.spanContext();
    });
    const all = sdk.takeSpans();
    const operations = [
      "createStreamStorage",
      "writeEvent",
      "readStreamFromLastSnapshot",
      "streamMiniblocks",
      "sweepEphemeralStreams",
    ];
    assert.equal(all.length, operations.length + 1);
    for (const operation of operations) {
      const span = only(all, operation);
      assert.equal(span.name, `${operation} ${schema}`);
      assert.equal(span.kind, SpanKind[spans.call.kind]);
      assert.equal(span.parentSpanContext?.spanId, parent.spanId);
      assert.equal(span.spanContext().traceId, parent.traceId);
      assert.equal(span.attributes[attributes.system], "postgresql");
      const stream = operation === "sweepEphemeralStreams" ? undefined : id;
      assert.equal(span.attributes[attributes.streamId], stream);
      assert.match(
        String(span.attributes[attributes.namespace]),
        new RegExp(`^.+\\|${schema}$`),
      );
      for (const key of Object.keys(span.attributes)) {
        assert.ok(spans.call.attributes.some((known) => known === key), key);
      }
      assert.equal(span.status.code, SpanStatusCode.UNSET);
      const said = JSON.stringify([span.attributes, span.events, span.status]);
      assert.ok(!said.includes("payload"), said);
    }
  });

  it("carries the error's code, reason and outcome", async () => {
    await using test = await openTestStorage();
    const { storage } = test;
    const id = newStreamId();
    await storage.createStreamStorage(id, genesis);
    sdk.takeSpans();
    await assert.rejects(storage.writeEvent(id, 1n, 3, secret));
    await assert.rejects(storage.getLastMiniblockNumber("" as never));
    await assert.rejects(async () => {
      for await (const _ of storage.streamMiniblocks(id, 5n, 0n)) break;
    });
    const all = sdk.takeSpans();
    const event = only(all, "writeEvent");
    assert.equal(event.status.code, SpanStatusCode.ERROR);
    assert.equal(
      event.attributes[attributes.errorType],
      "DB_OPERATION_FAILURE",
    );
    assert.equal(
      event.attributes[attributes.errorReason],
      "minipool_slot_mismatch",
    );
    assert.equal(event.attributes[attributes.outcome], "rolled_back");
    const number = only(all, "getLastMiniblockNumber");
    assert.equal(number.attributes[attributes.errorType], "BAD_STREAM_ID");
    const blocks = only(all, "streamMiniblocks");
    assert.equal(blocks.attributes[attributes.errorType], "INVALID_ARGUMENT");
  });

  it("has an event for each retry of its own call", async () => {
    await using proxy = await startProxy(await testDatabaseUrl());
    await using test = await openTestStorage({ url: proxy.url });
    const { storage } = test;
    const [first, second] = [newStreamId(), newStreamId()];
    for (const id of [first, second]) {
      await storage.createStreamStorage(id, genesis);
    }
    sdk.takeSpans();
    // The first write starts a batch, in which both fail.
    let cuts = 0;
    proxy.setRule(({ side, type }) =>
      side === "backend" && type === "Z" && cuts++ < 3
        ? "cut-before"
        : "forward"
    );
    await Promise.all(
      [first, second].map((id) =>
        below(id, () => storage.writeEvent(id, 1n, 0, secret))
      ),
    );
    const all = sdk.takeSpans();
    const parents = new Map(
      all.filter(({ kind }) => kind === SpanKind.INTERNAL)
        .map((span) => [span.spanContext().spanId, span.name]),
    );
    const calls = all.filter(({ kind }) => kind === SpanKind.CLIENT);
    assert.equal(calls.length, 2);
    for (const call of calls) {
      const id = call.attributes[attributes.streamId];
      assert.equal(parents.get(call.parentSpanContext!.spanId), id);
      const [retry] = call.events;
      const { name } = spans.call.events.retry;
      assert.equal(retry?.name, name, `${id} ${cuts}`);
      assert.equal(retry.attributes?.[attributes.transaction], "writeEvent");
      assert.equal(retry.attributes?.[attributes.attempt], 2);
      assert.equal(
        retry.attributes?.[attributes.errorType],
        "connection_lost",
      );
    }
    for (const [spanId, name] of parents) {
      const parent = all.find((span) => span.spanContext().spanId === spanId);
      assert.deepEqual(parent?.events, [], name);
    }
  });
});
