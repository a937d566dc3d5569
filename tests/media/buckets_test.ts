/**
 * The clients of object stores against an S3 server that checks signatures and
 * a strict GCS server, both written for these tests.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { openGcsBucket } from "../../src/media/gcs.ts";
import type { ObjectStore } from "../../src/media/object_store.ts";
import { type BucketTuning, openS3Bucket } from "../../src/media/s3.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { type GcsServer, startGcsServer } from "../support/media/gcs_server.ts";
import type { RawReply } from "../support/media/raw_http.ts";
import { errorDocument } from "../support/media/real_replies.ts";
import { type S3Server, startS3Server } from "../support/media/s3_server.ts";
import { patterned } from "../support/patterned.ts";

const tuning = (policy: BucketTuning["policy"] = {}): BucketTuning => ({
  partBytes: 2000,
  policy: { minDelayMs: 1, maxDelayMs: 2, ...policy },
});

async function* cut(bytes: Uint8Array, size = 777) {
  for (let at = 0; at < bytes.length; at += size) {
    yield await Promise.resolve(bytes.subarray(at, at + size));
  }
}

function fails(
  call: Promise<unknown>,
  reason: string | RegExp,
  code = "DOWNSTREAM_NETWORK_ERROR",
): Promise<void> {
  return assert.rejects(call, (error) => {
    assert.ok(isStreamStorageError(error), String(error));
    assert.match(String(error.details["reason"]), new RegExp(reason));
    assert.equal(error.code, code);
    return true;
  });
}

function behaves(open: () => ObjectStore): void {
  it("stores, returns and deletes objects of one part and of many", async () => {
    const store = open();
    for (const size of [1, 1999, 2000, 2001, 4000, 9001]) {
      const name = `schéma +&'(x)/of ${size}`;
      const bytes = patterned(size);
      await store.putObject(name, size, cut(bytes));
      const found = await store.headObject(name);
      assert.equal(found?.size, size);
      assert.ok(found.modifiedAt.getTime() > Date.now() - 3_600_000);
      assert.deepEqual(await store.getRange(name, { start: 0, size }), bytes);
      const last = { start: size - 1, size: 1 };
      assert.deepEqual(await store.getRange(name, last), bytes.slice(-1));
      await store.deleteObject(name);
      await store.deleteObject(name);
      assert.equal(await store.headObject(name), undefined);
    }
  });

  it("replaces an object as a whole", async () => {
    const store = open();
    await store.putObject("s/replaced", 5000, cut(patterned(5000)));
    await store.putObject("s/replaced", 10, cut(patterned(10)));
    assert.equal((await store.headObject("s/replaced"))?.size, 10);
    await store.deleteObject("s/replaced");
  });

  it("lists the objects of a prefix, page by page", async () => {
    const store = open();
    const names = ["p/a", "p/b", "p/c", "p/d", "p/e", "q/a"];
    for (const name of names) await store.putObject(name, 7, cut(patterned(7)));
    const found = await Array.fromAsync(store.listObjects("p/"));
    const listed = found.map(({ name }) => name).sort();
    assert.deepEqual(listed, names.slice(0, 5));
    assert.ok(found.every(({ size, etag }) => size === 7 && etag !== ""));
    assert.deepEqual(await Array.fromAsync(store.listObjects("r/")), []);
    for (const name of names) await store.deleteObject(name);
  });

  it("returns an error for bytes that do not exist", async () => {
    const store = open();
    await store.putObject("s/short", 100, cut(patterned(100)));
    const range = (start: number, size: number) =>
      store.getRange("s/short", { start, size });
    await fails(range(90, 11), "object_too_short");
    await fails(range(100, 1), "object_too_short");
    await fails(range(500, 10), "object_too_short");
    const missing = store.getRange("s/none", { start: 0, size: 1 });
    await fails(missing, "object_missing", "MINIBLOCKS_NOT_FOUND");
    await store.deleteObject("s/short");
  });

  it("refuses pieces whose size is not the announced one", async () => {
    const store = open();
    for (const length of [99, 101, 2500, 5000]) {
      await fails(
        store.putObject("s/odd", length, cut(patterned(100))),
        "size_mismatch",
      );
    }
    await fails(
      store.putObject("s/odd", 5000, cut(patterned(5001))),
      "size_mismatch",
    );
    assert.equal(await store.headObject("s/odd"), undefined);
  });
}

describe("An S3 bucket", () => {
  let server: S3Server;
  before(async () => {
    server = await startS3Server();
  });
  after(() => server[Symbol.asyncDispose]());
  const open = (policy?: BucketTuning["policy"]) =>
    openS3Bucket(server.options, tuning(policy));

  behaves(open);

  it("gets every request signed, with the session token", async () => {
    for (
      const wrong of [
        { secretAccessKey: "guessed" },
        { accessKeyId: "nobody" },
      ]
    ) {
      const store = openS3Bucket({ ...server.options, ...wrong }, tuning());
      server.requests.length = 0;
      const refused = [
        store.putObject("s/a", 3, cut(patterned(3))),
        store.putObject("s/a", 5000, cut(patterned(5000))),
        store.headObject("s/a"),
        store.getRange("s/a", { start: 0, size: 1 }),
        store.deleteObject("s/a"),
        Array.fromAsync(store.listObjects("s/")),
      ];
      await Promise.all(refused.map((call) => fails(call, "access_denied")));
      // No call is repeated, because it would be refused again.
      assert.equal(server.requests.length, refused.length);
    }
    let token: string | null = null;
    server.interfere = ({ headers }) => {
      token = headers.get("x-amz-security-token");
      assert.match(
        headers.get("authorization")!,
        /SignedHeaders=[^,]*;x-amz-security-token,/,
      );
      return undefined;
    };
    const options = { ...server.options, sessionToken: "temporary" };
    await openS3Bucket(options, tuning()).headObject("s/a");
    server.interfere = undefined;
    assert.equal(token, "temporary");
  });

  it("leads to errors that show no key, whatever fails", async () => {
    const secrets = {
      secretAccessKey: "do-not-show-secret",
      sessionToken: "do-not-show-token",
    };
    const replies: RawReply[] = [
      { status: 500, body: "do-not-show-secret" },
      { status: 403, body: "<Error><Code>do-not-show-secret</Code></Error>" },
    ];
    for (const reply of replies) {
      server.interfere = () => Promise.resolve(reply);
      const options = { ...server.options, ...secrets };
      const store = openS3Bucket(options, tuning({ attempts: 2 }));
      await store.getRange("s/a", { start: 0, size: 1 }).then(
        () => assert.fail("Must fail"),
        (error) => {
          const { message, details, stack, cause } = error;
          const text = JSON.stringify([message, details, stack, cause]);
          assert.ok(!text.includes("do-not-show"), text);
        },
      );
    }
    server.interfere = undefined;
  });

  const broken: Record<string, {
    reason: string;
    reply: (own: RawReply) => RawReply | "reset" | "hang";
  }> = {
    "status 500": { reason: "server_error", reply: () => ({ status: 500 }) },
    "status 503": {
      reason: "rate_limited",
      reply: () => ({
        status: 503,
        body: "<Error><Code>SlowDown</Code></Error>",
      }),
    },
    "status 429": {
      reason: "rate_limited",
      reply: () => ({ status: 429, headers: { "retry-after": "0" } }),
    },
    "status 408": {
      reason: "unexpected_status",
      reply: () => ({ status: 408 }),
    },
    "a reset instead of an answer": {
      reason: "network_error",
      reply: () => "reset",
    },
    "no answer at all": { reason: "timeout", reply: () => "hang" },
    "a reset in the body": {
      reason: "network_error",
      reply: (own) => ({ ...own, cut: { after: 10, by: "reset" } }),
    },
    "a body that stops": {
      reason: "timeout",
      reply: (own) => ({ ...own, cut: { after: 10, by: "hang" } }),
    },
    "a body that ends early": {
      reason: "network_error|short_body",
      reply: (own) => ({ ...own, cut: { after: 10, by: "end" } }),
    },
    "a body of 10 bytes": {
      reason: "wrong_length",
      reply: (own) => ({
        ...own,
        body: (own.body as Uint8Array).slice(0, 10),
      }),
    },
    "a body that is too long": {
      reason: "wrong_length",
      reply: (own) => ({ ...own, body: patterned(60) }),
    },
    "the whole object": {
      reason: "not_partial",
      reply: () => ({ status: 200, body: patterned(100) }),
    },
    "another range": {
      reason: "wrong_range",
      reply: (own) => ({
        ...own,
        headers: { ...own.headers, "content-range": "bytes 11-60/100" },
      }),
    },
    "no range": {
      reason: "wrong_range",
      reply: (own) => {
        const { "content-range": _range, ...headers } = own.headers!;
        return { ...own, headers };
      },
    },
  };
  for (const [what, { reason, reply }] of Object.entries(broken)) {
    it(`is read again after ${what}`, async () => {
      const attempts = 3;
      const slow = reason === "timeout";
      const store = open({ attempts, ...(slow ? { stallMs: 500 } : {}) });
      await open().putObject("s/read", 100, cut(patterned(100)));
      for (const failures of [attempts - 1, attempts]) {
        let left = failures;
        server.requests.length = 0;
        server.interfere = (_, answer) =>
          left-- > 0 ? answer().then(reply) : undefined;
        const read = store.getRange("s/read", { start: 10, size: 50 });
        if (failures < attempts) {
          assert.deepEqual(await read, patterned(100).slice(10, 60));
        } else await fails(read, reason);
        assert.equal(server.requests.length, attempts);
      }
      server.interfere = undefined;
    });
  }

  it("that redirects is not followed, and not asked again", async () => {
    server.requests.length = 0;
    server.interfere = () =>
      Promise.resolve({ status: 301, headers: { location: "/elsewhere" } });
    const reading = open().getRange("s/a", { start: 0, size: 1 });
    await fails(reading, "wrong_endpoint_or_region");
    server.interfere = undefined;
    assert.equal(server.requests.length, 1);
  });

  it("gets a whole object although every answer is lost once", async () => {
    const seen = new Set<string>();
    server.interfere = ({ method, target }, answer) => {
      if (method !== "PUT" && method !== "POST") return undefined;
      if (seen.has(`${method} ${target}`)) return undefined;
      seen.add(`${method} ${target}`);
      return answer().then(() => "reset");
    };
    const store = open();
    for (const size of [100, 7001]) {
      await store.putObject("s/lost", size, cut(patterned(size)));
      const found = await store.getRange("s/lost", { start: 0, size });
      assert.deepEqual(found, patterned(size));
    }
    server.interfere = undefined;
  });

  it("that can't finish an upload fails the call, which abandons the upload", async () => {
    server.interfere = ({ method, target }) =>
      method === "POST" && target.includes("uploadId")
        // S3 sends the status before it begins to put the parts together.
        ? Promise.resolve({
          status: 200,
          body: "<Error><Code>InternalError</Code></Error>",
        })
        : undefined;
    server.requests.length = 0;
    const store = open({ attempts: 2 });
    await fails(
      store.putObject("s/unfinished", 5000, cut(patterned(5000))),
      "server_error",
    );
    server.interfere = undefined;
    assert.match(server.requests.at(-1)!, /^DELETE .*uploadId=/);
    assert.equal(await store.headObject("s/unfinished"), undefined);
  });

  it("is asked again after the time that it names, within a bound", async () => {
    const store = open({ maxRetryAfterMs: 20 });
    await store.putObject("s/busy", 5, cut(patterned(5)));
    let left = 2;
    server.interfere = () =>
      left-- > 0
        ? Promise.resolve({
          status: 429,
          headers: { "retry-after": left === 1 ? "86400" : "Mon, 01 Jan 2035" },
        })
        : undefined;
    const read = await store.getRange("s/busy", { start: 0, size: 5 });
    assert.deepEqual(read, patterned(5));
    server.interfere = undefined;
  });

  it("is no longer asked once the signal aborts, in an attempt or before one", async () => {
    const stop = new AbortController();
    const reason = new Error("enough");
    const { signal } = stop;
    server.interfere = () => {
      stop.abort(reason);
      return Promise.resolve("hang");
    };
    const reading = open().getRange("s/a", { start: 0, size: 1 }, { signal });
    await assert.rejects(reading, (error) => error === reason);
    server.interfere = undefined;
    const again = open().getRange("s/a", { start: 0, size: 1 }, { signal });
    await assert.rejects(again, (error) => error === reason);
  });

  it("is asked at the address that its options describe", async () => {
    const urls: string[] = [];
    const { fetch } = globalThis;
    globalThis.fetch = (url, init) => {
      urls.push(String(url));
      const isHead = init?.method === "HEAD";
      const body = isHead ? null : errorDocument("NoSuchKey");
      return Promise.resolve(new Response(body, { status: 404 }));
    };
    try {
      const { endpoint: _endpoint, ...aws } = server.options;
      const options = [
        aws,
        { ...aws, bucket: "with.dots" },
        { ...aws, forcePathStyle: true },
        { ...aws, endpoint: "https://host:9000/base/" },
        { ...aws, endpoint: "https://host", forcePathStyle: false },
      ];
      for (const each of options) await openS3Bucket(each).headObject("s/a");
    } finally {
      globalThis.fetch = fetch;
    }
    assert.deepEqual([...new Set(urls)], [
      "https://media-tests.s3.eu-central-1.amazonaws.com/s/a",
      "https://s3.eu-central-1.amazonaws.com/with.dots/s/a",
      "https://s3.eu-central-1.amazonaws.com/media-tests/s/a",
      "https://host:9000/base/media-tests/s/a",
      "https://media-tests.host/s/a",
    ]);
  });
});

describe("A GCS bucket", () => {
  let server: GcsServer;
  before(async () => {
    server = await startGcsServer();
  });
  after(() => server[Symbol.asyncDispose]());
  const open = () => openGcsBucket(server.options, tuning());

  behaves(open);

  it("needs one token for all requests, and another if it refuses the first", async () => {
    const store = open();
    const given = server.tokensGiven;
    await Promise.all([1, 2, 3].map(() => store.headObject("s/a")));
    assert.equal(server.tokensGiven, given + 1);
    server.revoke();
    await store.headObject("s/a");
    assert.equal(server.tokensGiven, given + 2);
  });

  it("fails with a typed error if the key is wrong, or is no key", async () => {
    const other = await startGcsServer();
    const credentials = {
      ...server.options.credentials,
      privateKey: other.options.credentials.privateKey,
    };
    const store = openGcsBucket({ ...server.options, credentials }, tuning());
    await fails(store.headObject("s/a"), "credentials_refused");
    await other[Symbol.asyncDispose]();
    const bad = { ...credentials, privateKey: "no key, do-not-show" };
    const none = openGcsBucket({ ...server.options, credentials: bad });
    await fails(none.headObject("s/a"), "bad_private_key");
  });

  it("keeps no upload whose pieces fail", async () => {
    const store = open();
    const pieces = async function* () {
      yield patterned(3000);
      await Promise.reject(new Error("No more"));
    };
    await assert.rejects(
      store.putObject("s/broken", 9000, pieces()),
      /No more/,
    );
    assert.equal(server.uploads.size, 0);
  });
});
