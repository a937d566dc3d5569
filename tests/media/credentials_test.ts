/**
 * Credentials of buckets that a function provides, and that expire. The bucket
 * is a server of this test, which accepts one pair of credentials.
 */
import assert from "node:assert/strict";
import { after, before, beforeEach, describe, it } from "node:test";
import { inspect } from "node:util";
import { openGcsBucket } from "../../src/media/gcs.ts";
import type {
  GcsTokenSource,
  S3Credentials,
  S3CredentialsSource,
} from "../../src/media/given_credentials.ts";
import type { ObjectStore } from "../../src/media/object_store.ts";
import { openS3Bucket } from "../../src/media/s3.ts";
import { resolveOptions } from "../../src/postgres/resolved_options.ts";
import {
  isStreamStorageError,
  StreamStorageError,
} from "../../src/storage/errors.ts";
import { type RawServer, startRawServer } from "../support/media/raw_http.ts";

const secret = "do-not-show";
const tuning = {
  policy: { attempts: 2, minDelayMs: 1, maxDelayMs: 2, stallMs: 200 },
};

/** A bucket that recognises the valid credentials by a word in the headers. */
let server: RawServer;
let valid = "";
let refusal = { status: 401, code: "AuthenticationRequired" };
let requests = 0;
before(async () => {
  server = await startRawServer(({ headers, method }) => {
    requests++;
    const said = headers.get("authorization") + " " +
      headers.get("x-amz-security-token");
    if (said.includes(valid)) {
      return Promise.resolve({
        status: 200,
        headers: {
          etag: '"1"',
          "last-modified": "Mon, 30 Nov 2026 00:00:00 GMT",
          "x-goog-generation": "1",
        },
        ...(method === "HEAD" ? { contentLength: 3 } : { body: "abc" }),
      });
    }
    const { status, code } = refusal;
    const body = `<Error><Code>${code}</Code></Error>`;
    return Promise.resolve({ status, body });
  });
});
after(() => server[Symbol.asyncDispose]());
beforeEach(() => {
  valid = "first";
  requests = 0;
});

function s3(credentials: S3CredentialsSource): ObjectStore {
  return openS3Bucket({
    bucket: "media",
    region: "eu-central-1",
    endpoint: server.url,
    credentials,
  }, tuning);
}

function gcs(credentials: GcsTokenSource): ObjectStore {
  return openGcsBucket(
    { bucket: "media", endpoint: server.url, credentials },
    tuning,
  );
}

/** A provider, with functions that provide a word as credentials. */
interface Dialect {
  provider: string;
  /** How the provider refuses expired credentials. */
  refusal: typeof refusal;
  /** Opens a bucket with a function that provides the word and its end. */
  open(give: () => { word: string; expiration?: Date }): ObjectStore;
  /** Opens a bucket with a function that returns or throws anything. */
  wrong(give: () => unknown): ObjectStore;
}

const dialects: Dialect[] = [
  {
    provider: "S3",
    refusal: { status: 400, code: "ExpiredToken" },
    open: (give) =>
      s3(() => {
        const { word, ...end } = give();
        const keys = { accessKeyId: "AKID", secretAccessKey: secret };
        return { ...keys, sessionToken: word, ...end };
      }),
    wrong: (give) => s3(give as S3CredentialsSource),
  },
  {
    provider: "Google",
    refusal: { status: 401, code: "AuthenticationRequired" },
    open: (give) =>
      gcs(() => {
        const { word, expiration } = give();
        return expiration ? { token: word, expiration } : word;
      }),
    wrong: (give) => gcs(give as GcsTokenSource),
  },
];

async function failureOf(store: ObjectStore): Promise<StreamStorageError> {
  const error = await store.getRange("s/a", { start: 0, size: 3 }).then(
    () => assert.fail("Expected a failure"),
    (error) => error,
  );
  assert.ok(isStreamStorageError(error), String(error));
  assert.ok(!inspect(error, { depth: 10 }).includes(secret));
  return error;
}

for (const { provider, refusal: itsRefusal, open, wrong } of dialects) {
  describe(`A function that provides credentials for ${provider}`, () => {
    before(() => {
      refusal = itsRefusal;
    });
    const look = (store: ObjectStore) => store.headObject("s/a");

    it("is called once for all requests, and again before they expire", async () => {
      let asked = 0;
      const inAnHour = new Date(Date.now() + 3_600_000);
      const kept = open(() => {
        asked++;
        return { word: "first", expiration: inAnHour };
      });
      await Promise.all([1, 2, 3].map(() => look(kept)));
      await look(kept);
      assert.equal(asked, 1);
      // The credentials are renewed some time before they expire.
      let now = Date.now();
      const { now: real } = Date;
      try {
        Date.now = () => now;
        now += 3_500_000;
        await look(kept);
      } finally {
        Date.now = real;
      }
      assert.equal(asked, 2);
    });

    it("is called again if the bucket refuses its credentials", async () => {
      let word = "first";
      const store = open(() => ({ word }));
      await look(store);
      valid = word = "second";
      await look(store);
      valid = word = "third";
      // A listing is refused with a reason in its body.
      await assert.rejects(
        Array.fromAsync(store.listObjects("s/")),
        (error: StreamStorageError) => error.details.reason === "malformed_xml",
      );
      assert.equal(requests, 5);
    });

    it("is called again if it fails or never answers, and is not quoted", async () => {
      const ways: (() => unknown)[] = [
        () => {
          throw new Error(secret);
        },
        () => Promise.reject(secret),
        () => new Promise(() => {}),
      ];
      for (const way of ways) {
        let asked = 0;
        const error = await failureOf(wrong(() => {
          asked++;
          return way();
        }));
        assert.equal(error.code, "DOWNSTREAM_NETWORK_ERROR");
        assert.equal(error.details.reason, "credentials_unavailable");
        assert.equal(error.retryable, true);
        assert.equal(asked, 2);
      }
      assert.equal(requests, 0);
    });

    it("may throw a storage error, which the caller gets", async () => {
      const own = new StreamStorageError({
        code: "BAD_CONFIG",
        message: "No identity on this machine",
      });
      assert.equal(await failureOf(wrong(() => Promise.reject(own))), own);
    });

    it("causes an error that does not quote it if it returns anything else", async () => {
      const keys: S3Credentials = {
        accessKeyId: "AKID",
        secretAccessKey: `${secret}\n`,
      };
      for (
        const given of [
          undefined,
          null,
          "",
          7,
          `${secret} with spaces`,
          {},
          { token: secret, expiration: "tomorrow" },
          { token: "" },
          keys,
          { ...keys, secretAccessKey: secret, expiration: new Date(NaN) },
        ]
      ) {
        const error = await failureOf(wrong(() => given));
        assert.equal(error.details.reason, "credentials_malformed");
        assert.equal(error.retryable, false);
      }
      assert.equal(requests, 0);
    });
  });
}

describe("The option mediaStorage", () => {
  const common = { bucket: "media", region: "eu" };
  const keys = { accessKeyId: "AKID", secretAccessKey: secret };
  const credentials = () => keys;
  const resolve = (mediaStorage: unknown) =>
    resolveOptions(
      { user: "u", schema: "s", mediaStorage } as Parameters<
        typeof resolveOptions
      >[0],
    ).mediaStorage;

  it("accepts keys or a function", () => {
    for (const proof of [keys, { credentials }]) {
      const taken = resolve({ provider: "s3", ...common, ...proof });
      assert.equal(
        taken?.provider === "s3" && "credentials" in taken,
        "credentials" in proof,
      );
    }
    const token = () => "token";
    const taken = resolve({
      provider: "gcs",
      bucket: "media",
      credentials: token,
    });
    assert.equal(taken?.provider === "gcs" && taken.credentials, token);
  });

  it("names the field that is missing or superfluous", () => {
    const cases: [object, string][] = [
      [{ provider: "s3", ...common }, "accessKeyId"],
      [{ provider: "s3", ...common, accessKeyId: "a" }, "secretAccessKey"],
      [{ provider: "s3", ...common, ...keys, credentials }, "accessKeyId"],
      [{ provider: "s3", ...common, credentials: keys }, "credentials"],
      [{ provider: "gcs", bucket: "media", credentials: 7 }, "credentials"],
      [
        {
          provider: "gcs",
          bucket: "media",
          credentials: { private_key: secret },
        },
        "credentials.client_email",
      ],
    ];
    for (const [mediaStorage, option] of cases) {
      assert.throws(() => resolve(mediaStorage), (error) => {
        assert.ok(isStreamStorageError(error, "BAD_CONFIG"));
        const [fault] = error.details.faults as { option: string }[];
        assert.equal(fault?.option, `mediaStorage.${option}`);
        assert.ok(!inspect(error).includes(secret));
        return true;
      });
    }
  });
});
