/**
 * The log of a real server that logs all it can shows stored data when it refuses
 * a row. The settings in docs/security.md keep the data out, and each is needed.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import {
  type EmbeddedPostgres,
  startEmbeddedPostgres,
} from "../../src/embedded/mod.ts";
import { openStreamStorage } from "../../src/open_stream_storage.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import { bytes, newStreamId } from "../../src/testing/contract/support.ts";
import { queryOnce } from "../support/database.ts";
import { SecretSearch } from "../support/secrets/search.ts";

const docs = readFileSync(
  new URL("../../docs/security.md", import.meta.url),
  "utf8",
);
/** The settings on the page, for the role `towns_run`. */
const advice = /```sql\n([^`]*ALTER ROLE towns_run SET log_[^`]*)```/.exec(docs)
  ?.[1];

describe("The server's log", () => {
  let server: EmbeddedPostgres;
  before(async () => {
    server = await startEmbeddedPostgres({
      settings: {
        logging_collector: "on",
        log_statement: "all",
        log_min_duration_statement: "0",
        log_min_error_statement: "debug5",
        log_parameter_max_length_on_error: "-1",
      },
    });
  });
  after(() => server?.close());

  /** The settings on the page, without some. */
  const settingsBut = (...left: string[]) => {
    assert.ok(
      advice !== undefined,
      "Expected the settings in docs/security.md",
    );
    const settings = advice.replaceAll(/--.*$/gm, "").split(";")
      .map((sql) => sql.trim()).filter((sql) => sql !== "");
    assert.equal(settings.length, 3);
    return settings.filter((sql) => !left.some((name) => sql.includes(name)));
  };
  const all = ["log_"];
  const cases: [what: string, left: string[], by: Refusal, shown: boolean][] = [
    ["a refused row", all, "check", true],
    ["a refused row", ["log_parameter"], "check", false],
    ["parameters", all, "trigger", true],
    ["parameters", ["verbosity", "max_length_on_error"], "trigger", true],
    ["parameters", ["verbosity", "max_length ="], "trigger", true],
    ["parameters", ["verbosity"], "trigger", false],
    ["anything", [], "check", false],
    ["anything", [], "trigger", false],
  ];
  for (const [nth, [what, left, by, isShown]] of cases.entries()) {
    const settings = left.length === 0 ? "all settings" : `all but ${left}`;
    it(`${isShown ? "shows" : "hides"} ${what} with ${settings} (${by})`, async () => {
      const role = `logged_${nth}`;
      const found = await contentInLog(server.url, {
        role,
        settings: settingsBut(...left).map((sql) =>
          sql.replaceAll("towns_run", role)
        ),
        by,
      });
      assert.equal(found.length > 0, isShown);
    });
  }
});

/** What refuses a row: the server quotes the row for a CHECK only. */
type Refusal = "check" | "trigger";

/** Makes a refused write as the role; returns the content found in the log. */
async function contentInLog(
  admin: string,
  { role, settings, by }: {
    role: string;
    settings: readonly string[];
    by: Refusal;
  },
): Promise<string[]> {
  const sql = (text: string) => queryOnce(admin, text);
  await sql(`CREATE ROLE ${role} LOGIN PASSWORD '${role}'`);
  await sql(`CREATE SCHEMA ${role} AUTHORIZATION ${role}`);
  for (const setting of settings) await sql(setting);
  const login = new URL(admin);
  [login.username, login.password] = [role, role];
  const search = new SecretSearch();
  const content = bytes(search.invent("content"));
  await using storage = await openStreamStorage({
    url: login.href,
    schema: role,
    partitions: 1,
    startupDelayMs: 0,
    workerConcurrency: 0,
  });
  const create = () =>
    storage.createStreamStorage(newStreamId(), { number: 0n, data: content });
  await create();
  const tables = await sql(
    `SELECT table_name AS name FROM information_schema.columns
      WHERE table_schema = '${role}' AND column_name = 'blockdata'`,
  );
  await sql(`CREATE FUNCTION ${role}.refuse() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE check_violation; END $$`);
  for (const { name } of tables) {
    const table = `${role}."${name}"`;
    await sql(
      by === "check"
        ? `ALTER TABLE ${table} ADD CONSTRAINT refuses
            CHECK (octet_length(blockdata) = 0) NOT VALID`
        : `CREATE TRIGGER refuses BEFORE INSERT ON ${table}
            FOR EACH ROW EXECUTE FUNCTION ${role}.refuse()`,
    );
  }
  await assert.rejects(create(), (error) => {
    assert.ok(isStreamStorageError(error));
    assert.equal(error.details["sqlState"], "23514");
    return true;
  });
  search.see("the log", await logUpToNow(admin));
  return search.take();
}

/**
 * The log so far. Another process writes it, so this waits until our mark is in
 * the log.
 */
async function logUpToNow(url: string): Promise<string> {
  const mark = crypto.randomUUID();
  await queryOnce(url, `SELECT '${mark}'`);
  for (;;) {
    const [row] = await queryOnce(
      url,
      "SELECT pg_read_file(pg_current_logfile()) AS text",
    );
    const text = String(row!["text"]);
    if (text.includes(mark)) return text;
  }
}
