/**
 * An opening that fails because of its options, the login, the network or the
 * schema shows no secret. operations_test.ts says where the search looks.
 */
import { after, before, describe } from "node:test";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import type { StreamStorageOptions } from "../../src/postgres/options.ts";
import {
  type InMemoryTelemetry,
  installTelemetry,
} from "../support/telemetry/in_memory_telemetry.ts";
import { SecretSearch } from "../support/secrets/search.ts";
import { openSecretStore, type SecretStore } from "../support/secrets/store.ts";
import { failure, sweepBy, withPort } from "../support/secrets/trouble.ts";

const search = new SecretSearch();
const sweep = sweepBy(search);

describe("No secret is shown by an opening that fails", () => {
  let telemetry: InMemoryTelemetry;
  let store: SecretStore;
  before(async () => {
    telemetry = installTelemetry();
    store = await openSecretStore(search, telemetry);
    await store.storage.close();
  });
  after(async () => {
    await store?.[Symbol.asyncDispose]();
    await telemetry?.[Symbol.asyncDispose]();
  });

  sweep("because of its options", async () => {
    const secret = search.invent("an option");
    const { url } = store;
    const s3 = {
      provider: "s3",
      bucket: "b".repeat(9),
      region: "r",
      accessKeyId: "a",
      secretAccessKey: secret,
    };
    const schema = "secrets";
    const bad: unknown[] = [
      { url: `mysql://u:${secret}@h/d`, schema },
      { url: `postgresql://u:${secret}@h:99999/d`, schema },
      { url: `postgresql://u:%ZZ${secret}@h/d`, schema },
      { url: `postgresql://:${secret}@h/d`, schema },
      { url: `postgresql://u:${secret}@h/d?sslmode=${secret}`, schema },
      { url: { [secret]: secret }, schema },
      { url, password: secret, schema },
      { url, schema, ownershipUrl: `x://${secret}` },
      { user: "u", password: [secret], schema },
      { user: "u", password: secret, port: secret, schema },
      { url, schema, ssl: secret },
      { url, schema, ssl: { mode: "require", key: [secret] } },
      { url, schema, mediaStorage: { ...s3, secretAccessKey: `${secret} ` } },
      {
        url,
        schema,
        mediaStorage: { ...s3, endpoint: `http://u:${secret}@h` },
      },
      { url, schema, mediaStorage: { ...s3, provider: secret } },
      {
        url,
        schema,
        mediaStorage: {
          provider: "gcs",
          bucket: "media",
          credentials: `{"private_key":"${secret}`,
        },
      },
      {
        url,
        schema,
        mediaStorage: {
          provider: "gcs",
          bucket: "media",
          credentials: { client_email: "e", private_key: secret },
        },
      },
      secret,
    ];
    for (const [index, options] of bad.entries()) {
      search.see(`bad options ${index}`, await failure(options));
    }
  });

  sweep("because of the login or the network", async () => {
    const { url, schema } = store;
    const wrong = new URL(url);
    wrong.password = search.invent("a wrong password");
    const elsewhere = new URL(url);
    elsewhere.pathname = "/not_there";
    const tls = {
      ca: "no certificate",
      cert: "none",
      key: search.invent("the TLS key"),
    };
    const attempts: Record<string, Record<string, unknown>> = {
      "no such database": { url: elsewhere.href },
      "nobody answers": { url: withPort(url, 9) },
      "TLS refused": { url, ssl: "require" },
      "a TLS key that is none": { url, ssl: { mode: "verify-full", ...tls } },
    };
    // A server that trusts everybody accepts this password.
    search.see(
      "wrong password",
      await failure({ url: wrong.href, schema, migrate: "check" })
        .catch(() => undefined),
    );
    for (const [what, options] of Object.entries(attempts)) {
      const events: unknown[] = [];
      search.see(
        what,
        await failure({
          schema,
          logger: (event: unknown) => void events.push(event),
          ...options,
        }),
      );
      search.see(`${what}, log`, events);
    }
    search.see(
      "spans",
      telemetry.takeSpans().map(({ attributes }) => attributes),
    );
  });

  sweep("because of the schema", async () => {
    const { url, schema, admin } = store;
    const broken: Record<string, string> = {
      "is dirty": "UPDATE @.schema_migrations SET dirty = true",
      "is too new":
        "UPDATE @.schema_migrations SET version = 999, dirty = false",
      "lacks its version": "DELETE FROM @.schema_migrations",
      "is another's":
        "ALTER TABLE @.es OWNER TO CURRENT_USER; ALTER SCHEMA @ OWNER TO CURRENT_USER",
    };
    for (const [what, script] of Object.entries(broken)) {
      for (const sql of script.replaceAll("@", `"${schema}"`).split(";")) {
        await admin.script(sql);
      }
      for (const migrate of ["apply", "check", "skip"]) {
        const options = { url, schema, migrate, startupDelayMs: 0 };
        await using stack = new AsyncDisposableStack();
        try {
          stack.use(await openStreamStorage(options as StreamStorageOptions));
        } catch (error) {
          search.see(`${what}, ${migrate}`, error);
        }
      }
    }
  });
});
