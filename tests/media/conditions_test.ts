/**
 * Requests that change an object have conditions and a date, and the caller
 * learns which of them may still be executed. Against servers of these tests.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openGcsBucket } from "../../src/media/gcs.ts";
import type {
  ObjectStore,
  StoredObject,
} from "../../src/media/object_store.ts";
import { openS3Bucket } from "../../src/media/s3.ts";
import { startGcsServer } from "../support/media/gcs_server.ts";
import type { NoReply, RawReply } from "../support/media/raw_http.ts";
import { type S3Server, startS3Server } from "../support/media/s3_server.ts";

const tuning = {
  partBytes: 2000,
  policy: { attempts: 2, minDelayMs: 1, maxDelayMs: 2 },
};
const date = new Date();
const begin = () => Promise.resolve(date);

async function* content(size: number, byte: number) {
  yield await Promise.resolve(new Uint8Array(size).fill(byte));
}

/** Puts an object, on condition that none has its name. */
function putNew(store: ObjectStore, name: string, size: number, byte: number) {
  return store.putObject(name, size, content(size, byte), { begin });
}

async function firstByte(store: ObjectStore, name: string): Promise<number> {
  const [byte] = await store.getRange(name, { start: 0, size: 2 });
  return byte!;
}

async function keepsConditions(
  store: ObjectStore,
  { inParts }: { inParts: boolean },
): Promise<void> {
  const names = inParts ? ["s/whole", "s/parts"] : ["s/whole"];
  for (const [i, name] of names.entries()) {
    const size = i === 0 ? 100 : 5000;
    await putNew(store, name, size, 1);
    const first = await store.headObject(name);
    await putNew(store, name, size, 2);
    assert.equal(await firstByte(store, name), 1, "The object was replaced");
    await store.deleteObject(name, { expected: first, date });
    await putNew(store, name, size, 3);
    await assert.rejects(
      store.deleteObject(name, { expected: first, date }),
      ({ details }) => details.reason === "object_changed",
    );
    assert.equal(await firstByte(store, name), 3);
    const last = await store.headObject(name);
    await store.deleteObject(name, { expected: last, date });
    await store.deleteObject(name, { expected: last, date });
    assert.equal(await store.headObject(name), undefined);
  }
}

describe("A change of an object in S3", () => {
  let server: S3Server;
  let store: ObjectStore;
  before(async () => {
    server = await startS3Server();
  });
  after(() => server[Symbol.asyncDispose]());
  const open = () => store = openS3Bucket(server.options, tuning);

  it("keeps its conditions", () => keepsConditions(open(), { inParts: true }));

  it("is made without conditions if the server knows none", async () => {
    open();
    server.conditions = "refused";
    for (const size of [100, 5000]) {
      await putNew(store, "s/plain", size, 1);
      const found = await store.headObject("s/plain");
      server.requests.length = 0;
      await store.deleteObject("s/plain", { expected: found, date });
      // The store has learnt from the first refusal, and sends one request.
      assert.equal(server.requests.length, 1);
    }
    server.conditions = "kept";
    assert.equal(await store.headObject("s/plain"), undefined);
  });

  it("has no condition if the object's tag can't be one", async () => {
    open();
    for (const etag of ["", 'W/"abc"', "a b"]) {
      await putNew(store, "s/odd", 10, 1);
      const found = await store.headObject("s/odd");
      const expected: StoredObject = { ...found!, etag };
      await store.deleteObject("s/odd", { expected, date });
      assert.equal(await store.headObject("s/odd"), undefined);
    }
  });

  it("has the same date in all attempts, and is refused if that is old", async () => {
    open();
    const dates: (string | null)[] = [];
    server.interfere = ({ headers, method }) => {
      if (method !== "PUT") return undefined;
      dates.push(headers.get("x-amz-date"));
      return dates.length === 1 ? Promise.resolve("reset") : undefined;
    };
    await putNew(store, "s/dated", 10, 1);
    server.interfere = undefined;
    const expected = date.toISOString().replace(/[:-]|\.\d{3}/g, "");
    assert.deepEqual(dates, [expected, expected]);
    const old = new Date(Date.now() - 16 * 60_000);
    for (const size of [10, 5000]) {
      await assert.rejects(
        store.putObject("s/old", size, content(size, 1), {
          begin: () => Promise.resolve(old),
        }),
        ({ details }) => details.reason === "request_too_late",
      );
    }
    await assert.rejects(
      store.deleteObject("s/dated", { date: old }),
      ({ details }) => details.reason === "request_too_late",
    );
    assert.equal(await firstByte(store, "s/dated"), 1);
  });

  const fault = (status: number, code: string): RawReply => ({
    status,
    body: `<Error><Code>${code}</Code></Error>`,
  });
  const attempts: [what: string, reply: RawReply | NoReply, lost: boolean][] = [
    ["is reset", "reset", true],
    ["fails in the server", fault(500, "InternalError"), true],
    ["times out in a proxy", { status: 504 }, true],
    ["times out", fault(408, "RequestTimeout"), true],
    ["is answered in part", {
      status: 200,
      headers: { etag: '"x"' },
      body: "0123456789",
      cut: { after: 3, by: "reset" },
    }, true],
    ["is denied", fault(403, "AccessDenied"), false],
    ["comes too fast", fault(503, "SlowDown"), false],
    ["is not understood", fault(501, "NotImplemented"), false],
    ["has a conflict", fault(409, "ConditionalRequestConflict"), false],
  ];
  for (const [what, reply, isLost] of attempts) {
    const outcome = isLost ? "lost" : "answered";
    it(`counts as ${outcome} if an attempt ${what}`, async () => {
      open();
      for (const size of [100, 5000]) {
        let lost = 0;
        let left = 1;
        const options = { begin, date, onLost: () => lost++ };
        server.interfere = ({ method, url }) => {
          const isChange = size > 2000
            ? method === "POST" && url.searchParams.has("uploadId")
            : method === "PUT";
          return isChange && left-- > 0 ? Promise.resolve(reply) : undefined;
        };
        await store.putObject("s/lost", size, content(size, 1), options)
          .catch(() => {});
        assert.equal(lost, isLost ? 1 : 0);
        lost = 0;
        left = 1;
        server.interfere = ({ method }) =>
          method === "DELETE" && left-- > 0
            // The server's own answer would be that the object is gone.
            ? Promise.resolve(reply)
            : undefined;
        await store.deleteObject("s/lost", options).catch(() => {});
        assert.equal(lost, isLost ? 1 : 0);
        server.interfere = undefined;
        await store.deleteObject("s/lost");
      }
    });
  }

  it("counts as lost if it is aborted, but not if it was never sent", async () => {
    open();
    let lost = 0;
    const onLost = () => lost++;
    const stop = new AbortController();
    server.interfere = () => {
      stop.abort(new Error("enough"));
      return Promise.resolve("hang");
    };
    const { signal } = stop;
    await assert.rejects(store.deleteObject("s/a", { onLost, signal }));
    assert.equal(lost, 1);
    server.interfere = undefined;
    await assert.rejects(store.deleteObject("s/a", { onLost, signal }));
    const fails = store.putObject("s/a", 10, content(10, 1), {
      begin: () => Promise.reject(new Error("not now")),
      onLost,
    });
    await assert.rejects(fails, /not now/);
    assert.equal(lost, 1);
  });
});

describe("A change of an object in GCS", () => {
  it("keeps its conditions", async () => {
    await using server = await startGcsServer();
    const store = openGcsBucket(server.options, tuning);
    await keepsConditions(store, { inParts: false });
  });

  it("names a generation, or else is not sent", async () => {
    await using server = await startGcsServer();
    const store = openGcsBucket(server.options, tuning);
    await putNew(store, "s/a", 10, 1);
    const found = await store.headObject("s/a");
    assert.match(found?.generation ?? "", /^\d+$/);
    server.requests.length = 0;
    const expected = { ...found!, generation: undefined };
    await assert.rejects(store.deleteObject("s/a", { expected }));
    assert.deepEqual(server.requests, []);
  });

  it("in parts can be abandoned, and then never takes effect", async () => {
    await using server = await startGcsServer();
    const store = openGcsBucket(server.options, tuning);
    const pending = server.hold({
      fits: ({ method, url }) =>
        method === "POST" && url.searchParams.has("uploadId"),
      client: "hang",
    });
    let uploadId: string | undefined;
    const stop = new AbortController();
    const putting = store.putObject("s/a", 5000, content(5000, 1), {
      begin: (id) => {
        uploadId = id;
        return begin();
      },
      signal: stop.signal,
    });
    const held = await pending;
    await store.abandonUpload("s/a", uploadId!);
    await store.abandonUpload("s/a", uploadId!);
    assert.equal((await held.deliver()).status, 404);
    stop.abort(new Error("enough"));
    await assert.rejects(putting);
    assert.equal(await store.headObject("s/a"), undefined);
  });
});
