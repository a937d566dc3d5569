/**
 * A bucket that is broken or means harm, as a scripted server: whatever it
 * answers, a call soon ends with its result or a typed error. Without the
 * bounds that are tried here, these tests would run for minutes or for ever.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { AccessTokens } from "../../src/media/access_tokens.ts";
import { openGcsBucket } from "../../src/media/gcs.ts";
import { defaultHttpPolicy } from "../../src/media/http_client.ts";
import { Listing } from "../../src/media/listing.ts";
import type {
  ObjectStore,
  StoredObject,
} from "../../src/media/object_store.ts";
import type { ReplyFault } from "../../src/media/reply_fault.ts";
import { openS3Bucket } from "../../src/media/s3.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { type GcsServer, startGcsServer } from "../support/media/gcs_server.ts";
import {
  type NoReply,
  type RawReply,
  type RawRequest,
  type RawServer,
  startRawServer,
} from "../support/media/raw_http.ts";
import {
  errorDocument,
  gcsPage,
  listedNames,
  s3Page,
  wellAnswered,
} from "../support/media/real_replies.ts";
import { fill, spoilt } from "../support/media/spoilt_replies.ts";
import { Random } from "../support/random.ts";

function fill4(reason: string): string[] {
  return Array.from({ length: 4 }, () => reason);
}

/** What the bucket answers to a request. */
type Answer = (request: RawRequest) => RawReply | NoReply;

interface Opened {
  provider: "s3" | "gcs";
  open(stallMs?: number): ObjectStore;
}

describe("A hostile bucket", () => {
  let server: RawServer;
  let keys: GcsServer;
  let answer: Answer;
  let provider: "s3" | "gcs" = "s3";
  let requests = 0;
  before(async () => {
    keys = await startGcsServer();
    server = await startRawServer((request) => {
      requests++;
      return Promise.resolve(
        request.url.pathname === "/token"
          ? wellAnswered(provider, request)
          : answer(request),
      );
    });
  });
  after(async () => {
    await server[Symbol.asyncDispose]();
    await keys[Symbol.asyncDispose]();
  });

  const policy = (stallMs = 20_000) => ({
    policy: { attempts: 2, minDelayMs: 1, maxDelayMs: 2, stallMs },
    partBytes: 2000,
  });
  const dialects: Opened[] = [
    {
      provider: "s3",
      open: (stallMs) =>
        openS3Bucket({
          bucket: "media",
          region: "eu-central-1",
          endpoint: server.url,
          accessKeyId: "a",
          secretAccessKey: "b",
        }, policy(stallMs)),
    },
    {
      provider: "gcs",
      open: (stallMs) =>
        openGcsBucket({
          bucket: "media",
          endpoint: server.url,
          credentials: {
            ...keys.options.credentials,
            tokenUri: `${server.url}/token`,
          },
        }, policy(stallMs)),
    },
  ];

  /** Every kind of call to a bucket. */
  const calls: Record<string, (store: ObjectStore) => Promise<unknown>> = {
    list: (store) => Array.fromAsync(store.listObjects("s/")),
    look: (store) => store.look("s/a"),
    read: (store) => store.getRange("s/a", { start: 0, size: 100 }),
    remove: (store) => store.deleteObject("s/a"),
    abandon: (store) => store.abandonUpload("s/a", "upload"),
    put: (store) => store.putObject("s/a", 100, pieces(100)),
    "put parts": (store) => store.putObject("s/a", 3001, pieces(3001)),
  };

  async function* pieces(size: number) {
    yield await Promise.resolve(new Uint8Array(size));
  }

  /** The reason for which a call fails, or undefined if it succeeds. */
  async function endOf(call: Promise<unknown>): Promise<string | undefined> {
    try {
      await call;
      return undefined;
    } catch (error) {
      assert.ok(isStreamStorageError(error), String(error));
      assert.ok(
        ["DOWNSTREAM_NETWORK_ERROR", "MINIBLOCKS_NOT_FOUND"].includes(
          error.code,
        ),
      );
      return String(error.details["reason"]);
    }
  }

  async function listing(
    opened: Opened,
    pages: Answer,
  ): Promise<string | undefined> {
    ({ provider } = opened);
    answer = pages;
    requests = 0;
    return await endOf(Array.fromAsync(opened.open().listObjects("s/")));
  }

  for (const opened of dialects) {
    const page = opened.provider === "s3" ? s3Page : gcsPage;
    const paged = (names: string[], token?: string): Answer => () => ({
      status: 200,
      body: page(names, token),
    });

    it(`has to list in an order and to an end, ${opened.provider}`, async () => {
      const [a, b, c] = listedNames as [string, string, string];
      assert.equal(
        await listing(
          opened,
          (request) => wellAnswered(opened.provider, request),
        ),
        undefined,
      );
      const refused = async (reason: string, pages: Answer) =>
        assert.equal(await listing(opened, pages), reason);
      await refused("listing_out_of_order", paged([a, b], "again"));
      await refused("listing_repeats", paged([a, a]));
      await refused("listing_repeats", paged([b, a, b]));
      // Some servers keep no order within a page.
      assert.equal(await listing(opened, paged([b, a, c])), undefined);
      const twoPages = (...pages: string[][]) => {
        const left = pages.values();
        return listing(opened, (request) => {
          const names = left.next().value!;
          const isLast = names === pages.at(-1);
          return paged(names, isLast ? undefined : names[0])(request);
        });
      };
      assert.equal(await twoPages([b, a], [c]), undefined);
      assert.equal(await twoPages([c, a], [b]), "listing_out_of_order");
      // The order is that of the bytes, not of the UTF-16 units.
      assert.equal(await twoPages(["s/\uffee"], ["s/😀"]), undefined);
      assert.equal(
        await twoPages(["s/😀"], ["s/\uffee"]),
        "listing_out_of_order",
      );
      await refused("listing_repeats", paged([], "again"));
      let tokens = 0;
      await refused(
        "listing_without_progress",
        (request) => paged([], `token-${++tokens % 3}`)(request),
      );
      for (const foreign of ["q/a", "s", "S/a", "a/s/a"]) {
        await refused("listing_ignores_prefix", paged([foreign]));
      }
      await refused("malformed_list", paged([a, ""]));
      await refused("malformed_list", paged([fill("a", 1100)]));
      await refused("malformed_list", paged([a], ""));
      await refused("malformed_list", paged([a], fill("a", 10_000)));
    });

    it(`can't send documents that are too long or malformed, ${opened.provider}`, async () => {
      const texts: Record<string, string> = {
        malformed_xml: fill("<Contents><Key>"),
        reply_too_long: fill("<Contents>", 5_000_000),
        wrong_document: errorDocument("InternalError"),
        malformed_facts: page([listedNames[0]!]).replace(
          /<Size>\d+/,
          `<Size>${fill("9", 400)}`,
        ),
      };
      for (const [reason, body] of Object.entries(texts)) {
        assert.equal(
          await listing(opened, () => ({ status: 200, body })),
          reason,
        );
      }
      for (const name of ["&#99999999999;", "&#xd800;", "&#0;", "&a;", "&"]) {
        assert.equal(await listing(opened, paged([name])), "malformed_xml");
        assert.equal(await listing(opened, paged([], name)), "malformed_xml");
      }
      for (const status of [200, 400, 500]) {
        for (const body of Object.values(texts)) {
          answer = () => ({ status, body });
          for (const [name, call] of Object.entries(calls)) {
            assert.ok(await endOf(call(opened.open())), `${name} ${status}`);
          }
        }
      }
    });

    it(`can't send headers that are too long or senseless, ${opened.provider}`, async () => {
      ({ provider } = opened);
      const packed = gzipSync(new Uint8Array(2 ** 26));
      const heads: RawReply[] = [
        { status: 200, headers: { "content-encoding": "gzip" }, body: packed },
        {
          status: 206,
          headers: {
            "content-encoding": "gzip",
            "content-range": "bytes 0-99/100",
          },
          body: packed,
        },
        { status: 500, headers: { "content-encoding": "gzip" }, body: packed },
        { status: 200, headers: { x: fill("a", 2_000_000) } },
        { status: 200, headers: { date: "never" }, contentLength: 5 },
        { status: 200, headers: { date: fill("1 ", 5000) }, contentLength: 5 },
        {
          status: 200,
          headers: { date: "Thu, 01 Jan -9999 00:00:00 GMT" },
          contentLength: 5,
        },
        { status: 200, contentLength: -5 },
        { status: 200, contentLength: 1e21 },
        { status: 200, contentLength: Number.MAX_SAFE_INTEGER },
        { status: 503, headers: { "retry-after": fill("9", 400) } },
        { status: 503, headers: { "retry-after": "-1" } },
      ];
      for (const head of heads) {
        answer = () => head;
        assert.ok(await endOf(calls["look"]!(opened.open())));
        for (const name of ["read", "list"]) {
          const end = await endOf(calls[name]!(opened.open()));
          assert.ok(end);
          if (head.body === packed) assert.equal(end, "packed_reply");
        }
      }
    });

    it(`is not confused with a proxy before it, ${opened.provider}`, async () => {
      ({ provider } = opened);
      const store = opened.open();
      const ends = async (of: Answer) => {
        const reasons: (string | undefined)[] = [];
        answer = of;
        for (const name of ["look", "read", "remove", "abandon"]) {
          reasons.push(await endOf(calls[name]!(store)));
        }
        return reasons;
      };
      const always = (...reply: [number, string]) => {
        const [status, body] = reply;
        return ends(() => ({ status, body }));
      };
      const page = "<html><body><h1>404 Not Found</h1><br></body></html>";
      for (const body of ["", "default backend - 404", page]) {
        assert.deepEqual(await always(404, body), fill4("unexpected_status"));
      }
      assert.deepEqual(
        await always(404, errorDocument("NoSuchBucket")),
        fill4("bucket_missing"),
      );
      const [looked, ...others] = await always(
        404,
        errorDocument("NoSuchKey"),
      );
      assert.equal(looked, undefined);
      assert.deepEqual(others, [
        "object_missing",
        undefined,
        "object_missing",
      ]);
      assert.equal(
        (await always(404, errorDocument("NoSuchUpload"))).at(-1),
        undefined,
      );
      // Without the store's own answer, nothing counts as deleted.
      for (const body of [page, "deleted", errorDocument("InternalError")]) {
        const [, , ...deletions] = await always(200, body);
        assert.deepEqual(deletions, ["server_error", "server_error"]);
      }
      for (const status of [200, 204]) {
        const [, , ...deletions] = await always(status, "");
        assert.deepEqual(deletions, [undefined, undefined]);
      }
      // The object is there a moment later.
      answer = (request) =>
        request.method === "HEAD"
          ? { status: 404 }
          : wellAnswered(provider, request);
      const { object } = await store.look("s/a");
      assert.equal(object?.size, 3001);
      assert.equal(object?.etag, "5d41402abc4b2a76b9719d911017c592");
    });

    it(`has not answered if only a proxy before it has, ${opened.provider}`, async () => {
      ({ provider } = opened);
      const store = opened.open();
      const date = new Date();
      for (const status of [200, 301, 302, 400, 403, 404, 412]) {
        for (const [code, isLost] of [["", true], ["Denied", false]] as const) {
          if (status < 300 && code !== "") continue;
          let lost = 0;
          const onLost = () => lost++;
          const body = code === "" ? "<html>No</html>" : errorDocument(code);
          answer = () => ({ status, body });
          await endOf(store.deleteObject("s/a", { date, onLost }));
          assert.equal(lost > 0, isLost, `DELETE ${status} ${code}`);
          lost = 0;
          const begin = () => Promise.resolve(date);
          const writing = store.putObject("s/a", 9, pieces(9), {
            begin,
            onLost,
          });
          await endOf(writing);
          assert.equal(lost > 0, isLost, `PUT ${status} ${code}`);
        }
      }
    });

    it(`can't break the client with random damage, ${opened.provider}`, async () => {
      ({ provider } = opened);
      const random = new Random(opened.provider);
      const ends = new Map<string, number>();
      for (let round = 0; round < 150; round++) {
        for (const [name, call] of Object.entries(calls)) {
          answer = (request) => {
            const good = wellAnswered(opened.provider, request);
            return random.chance(30) ? good : spoilt(good, random);
          };
          const end = await endOf(call(opened.open()));
          const key = end === undefined ? "done" : "refused";
          ends.set(`${name} ${key}`, (ends.get(`${name} ${key}`) ?? 0) + 1);
        }
      }
      // Without both kinds of ends, the test would show little.
      for (const name of Object.keys(calls)) {
        assert.ok(ends.get(`${name} done`), name);
        assert.ok(ends.get(`${name} refused`), name);
      }
    });
  }

  it("can't list more than a bound", () => {
    const listing = new Listing("", { maxObjects: 3, maxEmptyPages: 1 });
    const object = (name: string) => ({ name }) as StoredObject;
    const reasonOf = (names: string[], next?: string) => {
      try {
        listing.take({ objects: names.map(object), next });
        return "taken";
      } catch (error) {
        return (error as ReplyFault).init.reason;
      }
    };
    assert.equal(reasonOf(["a", "b"], "1"), "taken");
    assert.equal(reasonOf(["b"], "2"), "listing_out_of_order");
    assert.equal(reasonOf([], "1"), "listing_repeats");
    assert.equal(reasonOf([], "2"), "taken");
    assert.equal(reasonOf([], "3"), "listing_without_progress");
    assert.equal(reasonOf(["c", "d"], "3"), "listing_too_long");
    assert.equal(listing.token, "2");
    assert.equal(reasonOf(["c"]), "taken");
    assert.ok(listing.isOver);
  });

  describe("with hostile tokens", () => {
    let given: RawReply | NoReply;
    let asked = 0;
    let tokens: RawServer;
    before(async () => {
      tokens = await startRawServer(() => {
        asked++;
        return Promise.resolve(given);
      });
    });
    after(() => tokens[Symbol.asyncDispose]());
    const open = () =>
      openGcsBucket({
        bucket: "media",
        endpoint: server.url,
        credentials: {
          ...keys.options.credentials,
          tokenUri: `${tokens.url}/token`,
        },
      }, policy());

    it("is used only with well-formed ones that last for a time", async () => {
      answer = (request) => wellAnswered("gcs", request);
      const json = (value: string) => {
        given = { status: 200, body: value };
        return endOf(open().look("s/a"));
      };
      for (
        const bad of [
          "",
          "null",
          "7",
          "[]",
          "{",
          fill("["),
          fill('{"a":'),
          `{"access_token":"a b","expires_in":1}`,
          String.raw`{"access_token":"a\r\nx: y","expires_in":1}`,
          String.raw`{"access_token":"\u20ac","expires_in":1}`,
          `{"access_token":"${fill("a", 20_000)}","expires_in":1}`,
          `{"access_token":"","expires_in":1}`,
          `{"access_token":"a","expires_in":"3599"}`,
          `{"access_token":"a"}`,
          `{"access_token":["a"],"expires_in":1}`,
        ]
      ) assert.equal(await json(bad), "malformed_token", bad.slice(0, 60));
      assert.equal(await json(fill(" ", 5_000_000)), "reply_too_long");
      for (const seconds of ["1e999", "-1e999", "-1", "0", "1e-300", "1"]) {
        const token = `{"access_token":"a","expires_in":${seconds}}`;
        assert.equal(await json(token), undefined, seconds);
      }
    });

    it("asks for each token once, however soon it expires", async (context) => {
      answer = (request) => wellAnswered("gcs", request);
      const { now } = Date;
      // An hour passes with each look at the clock.
      let ahead = 0;
      Date.now = () => now() + (ahead += 3_600_000);
      context.after(() => {
        Date.now = now;
      });
      given = { status: 200, body: `{"access_token":"a","expires_in":1}` };
      asked = 0;
      const { privateKey, clientEmail } = keys.options.credentials;
      const tokenUri = `${tokens.url}/token`;
      const account = { privateKey, clientEmail, tokenUri };
      const held = new AccessTokens(account, defaultHttpPolicy);
      assert.equal(await held.get(), "a");
      assert.equal(asked, 1);
      assert.equal(await held.get(), "a");
      assert.equal(asked, 2);
    });

    it("does not keep a call waiting for a token once its signal aborts", async () => {
      const reason = new Error("enough");
      const stop = new AbortController();
      given = "hang";
      asked = 0;
      const { signal } = stop;
      const looking = open().look("s/a", { signal });
      const ended = assert.rejects(looking, (error) => error === reason);
      stop.abort(reason);
      await ended;
    });
  });
});
