/**
 * A bucket that is broken or means harm: whatever it answers, a call ends with
 * what it was to give or with a typed error, and soon. Without the bounds that
 * are tried here these tests run for minutes, or for ever.
 */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { gzipSync } from "node:zlib";
import { PgError } from "../../src/database/pg_error.ts";
import { rejectionOf } from "../../src/database/rejection.ts";
import { parseConnectionUrl } from "../../src/database/connection_target.ts";
import { AccessTokens } from "../../src/media/access_tokens.ts";
import { openGcsBucket } from "../../src/media/gcs.ts";
import { defaultHttpPolicy } from "../../src/media/http_client.ts";
import { Listing } from "../../src/media/listing.ts";
import type {
  ObjectStore,
  StoredObject,
} from "../../src/media/object_store.ts";
import { ReplyFault } from "../../src/media/reply_fault.ts";
import { openS3Bucket } from "../../src/media/s3.ts";
import { parseXml, xmlElements, xmlText } from "../../src/media/xml.ts";
import { resolveOptions } from "../../src/postgres/resolved_options.ts";
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
  begun,
  errorDocument,
  finished,
  gcsPage,
  listedNames,
  s3Page,
  wellAnswered,
} from "../support/media/real_replies.ts";

const long = 4 * 1024 * 1024 - 100;

/** So much of a text, again and again. */
function fill(part: string, length = long): string {
  return part.repeat(Math.floor(length / part.length));
}

function fill4(reason: string): string[] {
  return Array.from({ length: 4 }, () => reason);
}

function read(xml: string) {
  return parseXml(new TextEncoder().encode(xml));
}

function faultOf(xml: string): unknown {
  try {
    read(xml);
  } catch (error) {
    assert.ok(error instanceof ReplyFault, String(error));
    assert.equal(error.init.reason, "malformed_xml");
    return error.init.details?.["problem"];
  }
  assert.fail(`Must be refused: ${xml.slice(0, 100)}`);
}

describe("XML of a reply", () => {
  it("is read as stores write it", () => {
    const page = read(s3Page(["s/a&amp;b", "s/&#x1F600;&#233;"], "t&lt;1"));
    assert.equal(page.name, "ListBucketResult");
    const keys = xmlElements(page, "Contents").map((it) => xmlText(it, "Key"));
    assert.deepEqual(keys, ["s/a&b", "s/😀é"]);
    assert.equal(xmlText(page, "NextContinuationToken"), "t<1");
    assert.equal(xmlText(read(gcsPage()), "IsTruncated"), "false");
    assert.equal(
      xmlText(read(begun), "UploadId"),
      "VXBsb2FkIElE-5d4140_2abc.4b2a76b",
    );
    assert.equal(read(finished).name, "CompleteMultipartUploadResult");
    assert.equal(xmlText(read(errorDocument("SlowDown")), "Code"), "SlowDown");
    const odd = read(
      "\ufeff\r\n<!-- <a> --><a b='>' c=\">\"\n><b/><b />" +
        "<c>1<![CDATA[<&]]>2<?x > ?>3</c></a>\n<!---->",
    );
    assert.equal(xmlElements(odd, "b").length, 2);
    assert.equal(xmlText(odd, "c"), "1<&23");
    assert.equal(xmlText(odd, "d"), undefined);
  });

  it("decodes what is a character, and no more", () => {
    const decode = (text: string) => read(`<a>${text}</a>`).text;
    assert.equal(decode("&amp;lt;&gt;&quot;&apos;&#65;&#x42;"), "&lt;>\"'AB");
    assert.equal(decode("&#1;&#x10ffff;"), "\u0001\u{10ffff}");
    for (
      const entity of [
        "&#99999999999;",
        "&#1114112;",
        "&#x110000;",
        "&#0;",
        "&#xd800;",
        "&#xdfff;&#xdc00;",
        "&#;",
        "&#x;",
        "&;",
        "&",
        "& ",
        "&lol9;",
        "&nbsp;",
        "&amp",
        "&#-5;",
        "&#1e3;",
      ]
    ) assert.equal(faultOf(`<a>${entity}</a>`), "bad_entity", entity);
    assert.equal(faultOf("<a>\0</a>"), "bad_character");
    assert.throws(() => parseXml(Uint8Array.of(60, 97, 0xff, 62)), ReplyFault);
  });

  it("is refused when it is none", () => {
    for (
      const text of [
        "",
        "text",
        "<a>",
        "</a>",
        "<a></b>",
        "<a/><b/>",
        "<a/>x",
        "<a><b></a></b>",
        "<a <b>",
        "<a b='>",
        "< a/>",
        "<a/",
        "<",
        "<!--",
        "<a><![CDATA[</a>",
        "<?x",
        "<a></a/>",
        `<${"a".repeat(200)}/>`,
      ]
    ) assert.ok(faultOf(text), text);
    const entity = `<!ENTITY b "${"&a;".repeat(10)}">`;
    for (
      const text of [
        `<!DOCTYPE a [<!ENTITY a "aaaa">${entity}]><a>&b;</a>`,
        `<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>`,
        "<!doctype html><html/>",
        "<a><!ELEMENT b></a>",
      ]
    ) assert.equal(faultOf(text), "declaration");
  });

  it("costs one look at every character, however it is made", () => {
    const bounded: Record<string, string> = {
      [fill("<Contents>")]: "too_deep",
      [`<a>${fill("<Contents></Contents>")}</a>`]: "too_many_elements",
      [`<a>${fill("<b/>")}</a>`]: "too_many_elements",
      [fill("<a>", 5_000_000)]: "too_long",
      [`<a>${fill("&")}`]: "bad_entity",
      [`<a>${fill("&amp;")}`]: "unclosed",
      [`<a>${fill("&#x41;")}`]: "unclosed",
      [`<a>&${fill("a")};</a>`]: "bad_entity",
      [`<a>${fill("&#9")};</a>`]: "bad_entity",
      [`<a ${fill("b='c' ")}`]: "bad_tag",
      [`<a ${fill("'")}`]: "bad_tag",
      [`<a ${fill(" ")}`]: "bad_tag",
      [`<${fill("a")}>`]: "bad_tag",
      [`<a>${fill("<!--")}`]: "unclosed",
      [`<a>${fill("<!---->")}`]: "unclosed",
      [`<a>${fill("<![CDATA[")}`]: "unclosed",
      [`<a>${fill("<![CDATA[]]>")}`]: "unclosed",
      [`<a>${fill("<![CDATA[]")}`]: "unclosed",
      [`<a>${fill("<?")}`]: "unclosed",
      [`<a>${fill("<??>")}`]: "unclosed",
      [`<a>${fill("</")}`]: "bad_tag",
      [`<a>${fill("]]>")}`]: "unclosed",
      [`<a>${fill(" ")}`]: "unclosed",
      [fill(" ")]: "not_one_root",
    };
    for (const [text, problem] of Object.entries(bounded)) {
      assert.equal(faultOf(text), problem, text.slice(0, 40));
    }
  });
});

/** What a test has a store answer. */
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

  /** All that is asked of a bucket. */
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

  /** The reason of a call's failure; undefined: it has given what it was to. */
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

    it(`lists in an order and to an end, ${opened.provider}`, async () => {
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
      // Within a page some servers keep no order.
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
      // By their bytes, not as strings compare.
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

    it(`has its documents bounded, ${opened.provider}`, async () => {
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

    it(`has its heads bounded, ${opened.provider}`, async () => {
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

    it(`is told from what stands before it, ${opened.provider}`, async () => {
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
      // What the store does not say, it has not done.
      for (const body of [page, "deleted", errorDocument("InternalError")]) {
        const [, , ...deletions] = await always(200, body);
        assert.deepEqual(deletions, ["server_error", "server_error"]);
      }
      for (const status of [200, 204]) {
        const [, , ...deletions] = await always(status, "");
        assert.deepEqual(deletions, [undefined, undefined]);
      }
      // It is there a moment later.
      answer = (request) =>
        request.method === "HEAD"
          ? { status: 404 }
          : wellAnswered(provider, request);
      const { object } = await store.look("s/a");
      assert.equal(object?.size, 3001);
      assert.equal(object?.etag, "5d41402abc4b2a76b9719d911017c592");
    });

    it(`has not answered for what stands before it, ${opened.provider}`, async () => {
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

    it(`never breaks what reads it, ${opened.provider}`, async () => {
      ({ provider } = opened);
      const random = randomFrom(opened.provider === "s3" ? 1 : 2);
      const ends = new Map<string, number>();
      for (let round = 0; round < 150; round++) {
        for (const [name, call] of Object.entries(calls)) {
          answer = (request) => {
            const good = wellAnswered(opened.provider, request);
            return random() < 0.3 ? good : spoilt(good, random);
          };
          const end = await endOf(call(opened.open()));
          const key = end === undefined ? "done" : "refused";
          ends.set(`${name} ${key}`, (ends.get(`${name} ${key}`) ?? 0) + 1);
        }
      }
      // Some of both, or nothing was tried.
      for (const name of Object.keys(calls)) {
        assert.ok(ends.get(`${name} done`), name);
        assert.ok(ends.get(`${name} refused`), name);
      }
    });
  }

  it("ends a listing at a bound", () => {
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

  describe("and its tokens", () => {
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

    it("are words that hold for a while, or refused", async () => {
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

    it("are asked for once, however short they hold", async (context) => {
      answer = (request) => wellAnswered("gcs", request);
      const { now } = Date;
      // An hour goes by with every look at the clock.
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

    it("are not waited for by who has given up", async () => {
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

/** Numbers from 0 to 1 that are the same every time. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const snippets = [
  "<Contents>",
  "</Contents>",
  "<Key>",
  "</Key>",
  "<![CDATA[",
  "]]>",
  "<!--",
  "-->",
  "<!DOCTYPE a>",
  "&#x0;",
  "&#55296;",
  "&amp;",
  "&lol;",
  "\0",
  "\u{10ffff}",
  "9".repeat(400),
  "-1",
  "<IsTruncated>true</IsTruncated>",
  "<NextContinuationToken>t</NextContinuationToken>",
  errorDocument("NoSuchKey"),
];

/** The reply with something wrong, or several things. */
function spoilt(reply: RawReply, random: () => number): RawReply {
  const below = (n: number) => Math.floor(random() * n);
  let { status, body, headers, cut, contentLength } = reply;
  for (let changes = 1 + below(3); changes > 0; changes--) {
    const kind = below(8);
    if (kind === 0) status = [200, 204, 206, 302, 404, 412, 500][below(7)]!;
    else if (kind === 1) {
      const by = (["end", "reset"] as const)[below(2)]!;
      cut = { after: below(100), by };
    } else if (kind === 2 && headers !== undefined) {
      const names = Object.keys(headers);
      const name = names[below(names.length)]!;
      const value = ["", "x", "9".repeat(400), '"', "bytes 0-0/1"][below(5)]!;
      headers = { ...headers, [name]: value };
    } else if (kind === 3) contentLength = below(5000);
    else if (typeof body === "string") {
      const [a, b] = [below(body.length), below(body.length)].sort(
        (x, y) => x - y,
      ) as [number, number];
      const snippet = snippets[below(snippets.length)]!;
      body = [
        body.slice(0, a) + body.slice(b),
        body.slice(0, b) + body.slice(a),
        body.slice(0, a) + snippet + body.slice(a),
        body.slice(0, a) + snippet + body.slice(b),
      ][below(4)]!;
    } else if (body !== undefined) body = body.subarray(below(body.length));
  }
  return {
    status,
    ...(body === undefined ? {} : { body }),
    ...(headers === undefined ? {} : { headers }),
    ...(cut === undefined ? {} : { cut }),
    ...(contentLength === undefined ? {} : { contentLength }),
  };
}

describe("Patterns that meet what others write", () => {
  it("look at long texts once", () => {
    const quietly = (body: () => unknown) => {
      try {
        body();
      } catch (error) {
        assert.ok(isStreamStorageError(error), String(error));
      }
    };
    // A server that is none: a text in which every brace may begin an object.
    for (const text of [fill("{"), fill("}"), fill('{"a":1}'), '{"a":"b"}']) {
      const fields = { C: "22P02", M: `stream-storage:${text}` };
      const error = new PgError(new Map(Object.entries(fields)), 0);
      assert.equal(rejectionOf(error), undefined);
    }
    const s3 = {
      bucket: "media",
      region: "eu-central-1",
      accessKeyId: "a",
      secretAccessKey: "b",
    };
    const slashes = `http://host/${fill("/")}x`;
    openS3Bucket({ ...s3, endpoint: slashes });
    const gcs = { clientEmail: "a", privateKey: "b", tokenUri: "http://host" };
    openGcsBucket({ bucket: "media", credentials: gcs, endpoint: slashes });
    const begin = "-----BEGIN PRIVATE KEY-----";
    for (
      const text of [
        slashes,
        fill("-----A"),
        fill("-"),
        begin + fill("A"),
        begin + fill(" "),
        `${begin}A-----END PRIVATE KEY-----${fill(" ")}x`,
        fill("0x"),
        fill("a."),
        fill("../"),
      ]
    ) {
      const credentials = { client_email: "a", private_key: text };
      const url = "postgresql://u@h/d";
      for (
        const mediaStorage of [
          { provider: "s3", ...s3, endpoint: text },
          { provider: "s3", ...s3, bucket: text, region: text },
          { provider: "s3", ...s3, accessKeyId: text },
          { provider: "gcs", bucket: "media", credentials },
          { provider: "gcs", bucket: "media", credentials: text },
        ]
      ) {
        quietly(() => resolveOptions({ url, mediaStorage } as never));
      }
      quietly(() => resolveOptions({ url, schema: text } as never));
      for (const part of [text, `u:${text}@h`, `h/${text}`, `h?${text}`]) {
        quietly(() => parseConnectionUrl(`postgresql://${part}`));
      }
    }
  });
});
