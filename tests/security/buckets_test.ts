/**
 * A store shows no secret, whatever a bucket replies, even if the reply repeats
 * the keys, the tokens and the content of the request. operations_test.ts says
 * where the search looks.
 */
import { after, before, describe } from "node:test";
import type { GcsServer } from "../support/media/gcs_server.ts";
import {
  type InMemoryTelemetry,
  installTelemetry,
} from "../support/telemetry/in_memory_telemetry.ts";
import { onGcs } from "../support/media/streams.ts";
import {
  type RawReply,
  type RawRequest,
  startRawServer,
} from "../support/media/raw_http.ts";
import { invoke, prepare } from "../support/secrets/calls.ts";
import { SecretSearch } from "../support/secrets/search.ts";
import { echoOf, openSecretStore } from "../support/secrets/store.ts";
import { startSecretBucket, sweepBy } from "../support/secrets/trouble.ts";
import { until } from "../support/until.ts";

const search = new SecretSearch();
const sweep = sweepBy(search);

describe("No secret is shown because of a bucket", () => {
  let telemetry: InMemoryTelemetry;
  let bucket: GcsServer;
  before(async () => {
    telemetry = installTelemetry();
    bucket = await startSecretBucket(search);
  });
  after(async () => {
    await bucket?.[Symbol.asyncDispose]();
    await telemetry?.[Symbol.asyncDispose]();
  });

  const accessKeyId = "AKIASECRETSTEST";

  /** Replies of a broken or malicious bucket. */
  const replies: Record<string, (request: RawRequest) => RawReply | "reset"> = {
    "sends everything back as its word": (request) => ({
      status: 403,
      body: `<Error><Code>${echoOf(request)}</Code></Error>`,
    }),
    "sends the signature back as its word": ({ headers }) => ({
      status: 400,
      body: `<Error><Code>${headers.get("authorization")}</Code><Message>${
        headers.get("x-amz-security-token")
      }</Message></Error>`,
    }),
    "sends the token back as a place to go": ({ headers }) => ({
      status: 307,
      headers: {
        location: `http://127.0.0.1:9/${headers.get("x-amz-security-token")}`,
      },
    }),
    "is out of order": (request) => ({ status: 503, body: echoOf(request) }),
    "agrees with everything": (request) => ({
      status: 200,
      headers: {
        etag: `"${echoOf(request).replaceAll(/\s/g, "").slice(0, 2000)}"`,
      },
      body: echoOf(request),
    }),
    "hangs up": () => "reset",
  };
  for (const [what, reply] of Object.entries(replies)) {
    sweep(`that ${what}`, async () => {
      await using server = await startRawServer((request) =>
        Promise.resolve(reply(request))
      );
      await using store = await openSecretStore(search, telemetry, {
        mediaStorage: {
          provider: "s3",
          bucket: "media-tests",
          region: "eu-central-1",
          endpoint: server.url,
          accessKeyId,
          secretAccessKey: search.invent("the bucket's key"),
          sessionToken: search.invent("the bucket's session token"),
        },
      });
      const id = await prepare(store.storage, "sealed", store.content);
      // If the bucket hangs up, wait until the last attempt has failed.
      const patienceMs = what === "hangs up" ? 10_000 : 1000;
      const attempts: [name: string, ms: number, ...args: object[]][] = [
        ["maintenance.offloadMedia", patienceMs, { streamId: id }],
        ["maintenance.offloadMedia", 1000, {}],
        ["maintenance.reconcileMedia", 1000, {}],
      ];
      for (const [name, ms, options] of attempts) {
        const signal = AbortSignal.timeout(ms);
        const called = invoke(store.storage, name, [{ ...options, signal }]);
        const outcome = await called.catch((error) => error);
        search.see(`${what}, ${name}`, outcome);
      }
      await invoke(store.storage, "deleteStream", [id]);
      await store.look(what);
    });
  }

  sweep("that hands out tokens, and takes them away", async () => {
    const options = { mediaStorage: onGcs(bucket) };
    await using store = await openSecretStore(search, telemetry, options);
    const { storage, content } = store;
    const external = await prepare(storage, "external", content);
    const sealed = await prepare(storage, "sealed", content);
    const tricks: ((request: RawRequest) => RawReply | undefined)[] = [
      (request) => {
        const bearer = request.headers.get("authorization")?.slice(7);
        if (bearer) search.add(`token ${bearer.slice(0, 4)}`, bearer);
        return { status: 403, body: `<Error><Code>${bearer}</Code></Error>` };
      },
      (request) => {
        if (request.url.pathname !== "/token") return undefined;
        const assertion = new TextDecoder().decode(request.body).slice(-60);
        search.add(`assertion ${assertion.slice(0, 4)}`, assertion);
        return { status: 401, body: JSON.stringify({ error: assertion }) };
      },
      (request) => {
        if (request.url.pathname !== "/token") return undefined;
        const token = search.invent("a token");
        const body = JSON.stringify({
          access_token: [token],
          expires_in: token,
        });
        return { status: 200, body };
      },
      (request) => ({ status: 500, body: echoOf(request) }),
    ];
    for (const [nth, trick] of tricks.entries()) {
      bucket.interfere = trick;
      if (nth > 0) bucket.revoke();
      for (
        const [name, ...args] of [
          ["readMiniblocks", external, 0n, 9n],
          ["readStreamFromLastSnapshot", external, 9],
          ["streamMiniblocks", external, 0n, 9n],
          ["maintenance.offloadMedia", { streamId: sealed }],
          ["maintenance.rehydrateMedia", external],
          ["maintenance.reconcileMedia", { dryRun: true }],
        ] as const
      ) {
        const signal = AbortSignal.timeout(300);
        const last = args.at(-1);
        const given = typeof last === "object"
          ? [{ ...last, signal }]
          : [...args, { signal }];
        await invoke(storage, name, given).catch((error) =>
          search.see(`trick ${nth}, ${name}`, error)
        );
      }
      bucket.interfere = undefined;
    }
    await store.look("tokens");
  });

  sweep("that a worker works with", async () => {
    await using server = await startRawServer((request) =>
      Promise.resolve({ status: 403, body: echoOf(request) })
    );
    const events: { code: string }[] = [];
    await using store = await openSecretStore(search, telemetry, {
      workerConcurrency: 1,
      logger: (event) => void events.push(event),
      mediaStorage: {
        provider: "s3",
        bucket: "media-tests",
        region: "eu-central-1",
        endpoint: server.url,
        accessKeyId,
        secretAccessKey: search.invent("the bucket's key"),
      },
    });
    await prepare(store.storage, "sealed", store.content);
    await until(() => events.some(({ code }) => code.startsWith("worker_")));
    search.see("log", events);
    await store.look("a worker");
    search.see("workers", store.storage.maintenance.workers());
  });
});
