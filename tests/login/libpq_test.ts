/**
 * Opens each connection URL of a table with the store and with psql, on the
 * same real servers, and compares both results with the table. Checks that
 * docs/connection_url.md shows the table.
 */
import assert from "node:assert/strict";
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readFile,
  rm,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { parseConnectionUrl } from "../../src/database/connection_target.ts";
import type { EmbeddedPostgres } from "../../src/embedded/mod.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { startLoginCluster, tlsFixture } from "../support/login/cluster.ts";
import { psqlVersion, whyNoPsql } from "../support/psql.ts";
import {
  otherCases,
  sameCases,
  type UrlCase,
  usual,
} from "../support/login/url_cases.ts";
import { libpqOutcome, ourOutcome } from "../support/login/url_outcome.ts";

const cases = [...Object.values(sameCases).flat(), ...otherCases];

describe("A connection URL", () => {
  let server: EmbeddedPostgres;
  let dir: string;
  let home: string;
  let places: [string, string][];
  before(async () => {
    // A server that runs as another user must reach its sockets there.
    dir = await mkdtemp(join(tmpdir(), "libpq-"));
    await chmod(dir, 0o755);
    const sockets = join(dir, "p:r:i");
    const certs = join(dir, "certs");
    home = join(dir, "home");
    for (const each of [sockets, certs, home]) await mkdir(each);
    await chmod(sockets, 0o777);
    for (
      const name of ["ca.crt", "other_ca.crt", "client.crt", "server.crt"]
    ) await copyFile(tlsFixture(name), join(certs, name));
    for (
      const [name, mode] of [["client", 0o600], ["shared", 0o644]] as const
    ) {
      const path = join(certs, `${name}.key`);
      await copyFile(tlsFixture("client.key"), path);
      await chmod(path, mode);
    }
    server = await startLoginCluster({ unix_socket_directories: sockets });
    places = [
      ["/sockets/p:r:i", sockets],
      ["%2Fsockets%2Fp%3Ar%3Ai", encodeURIComponent(sockets)],
      ["/certs/", `${certs}/`],
      ["5432", new URL(server.url).port],
      ["5433", new URL(await testDatabaseUrl()).port],
    ];
  });
  after(async () => {
    await server?.close();
    await rm(dir, { recursive: true, force: true });
  });

  /** The case's URL with this test's ports and paths. */
  function placed({ url }: UrlCase): string {
    const whole = url.startsWith("?") ? usual + url : url;
    return places.reduce(
      (text, [from, to]) => text.replaceAll(from, to),
      whole,
    );
  }

  /** The cases whose result is not the expected one. */
  async function wrong(
    chosen: readonly UrlCase[],
    outcome: (url: string, of: UrlCase) => Promise<string>,
    expected: (of: UrlCase) => string,
  ): Promise<object[]> {
    const found: object[] = [];
    const left = [...chosen];
    // A few at a time: each is a process and a connection.
    await Promise.all([1, 2, 3, 4].map(async () => {
      for (let next = left.shift(); next; next = left.shift()) {
        const actual = await outcome(placed(next), next);
        if (actual === expected(next)) continue;
        found.push({ url: next.url, expected: expected(next), actual });
      }
    }));
    return found;
  }

  it("has the result that the table names", async () => {
    const found = await wrong(
      cases,
      (url, { setting }) => ourOutcome(url, { setting }),
      ({ libpq, ours }) => ours ?? libpq,
    );
    assert.deepEqual(found, []);
  });

  it("has the result that the table names for libpq", {
    // The runtime does not change what libpq does.
    skip: whyNoPsql ?? ("bun" in process.versions && "asked under Deno"),
  }, async () => {
    const asked = cases.filter(({ since = 0 }) => since <= psqlVersion!);
    assert.ok(asked.length > cases.length * 0.9);
    const found = await wrong(
      asked,
      (url, { setting }) => libpqOutcome(url, { setting, home }),
      ({ libpq }) => libpq,
    );
    assert.deepEqual(found, []);
  });
});

describe("docs/connection_url.md", () => {
  const page = new URL("../../docs/connection_url.md", import.meta.url);
  const mark =
    "<!-- From tests/support/login/url_cases.ts, by UPDATE_GOLDEN=1 -->\n";

  function code(text: string): string {
    return `\`${text.replace(/^postgresql:\/\//, "")}\``;
  }

  function table(head: readonly string[], rows: readonly string[][]): string {
    const widths = head.map((title, i) =>
      Math.max(title.length, ...rows.map((row) => row[i]!.length))
    );
    const line = (cells: readonly string[]) =>
      `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |\n`;
    return line(head) + line(widths.map((n) => "-".repeat(n))) +
      rows.map(line).join("");
  }

  function libpqOf({ libpq, since }: UrlCase): string {
    return libpq + (since === undefined ? "" : ` (libpq ${since})`);
  }

  function tables(): string {
    const same = Object.entries(sameCases).map(([title, cases]) =>
      `### ${title}\n\n` +
      table(
        ["URL", "libpq and the store"],
        cases.map((each) => [code(each.url), libpqOf(each)]),
      )
    );
    const other = table(
      ["URL", "libpq", "the store", "because"],
      otherCases.map((each) => [
        code(each.url),
        libpqOf(each),
        each.ours!,
        each.why!,
      ]),
    );
    return `\n## Where the store differs\n\n${other}\n## Where the store agrees with libpq\n\n` +
      same.join("\n");
  }

  it("names the known parameters", async () => {
    const text = await readFile(page, "utf8");
    const [, list = ""] = /known parameters are (.*?)\./s.exec(text) ?? [];
    const named = [...list.matchAll(/`(\w+)`/g)].map(([, name]) => name!);
    assert.throws(
      () => parseConnectionUrl(`${usual}?unheard_of=1`),
      (error) => {
        const [, known = ""] = /expected ([\w, ]+)/.exec(String(error)) ?? [];
        assert.deepEqual(named.sort(), known.trim().split(", ").sort());
        return true;
      },
    );
  });

  it("shows every case", async () => {
    const text = await readFile(page, "utf8");
    const at = text.indexOf(mark);
    assert.ok(at > 0);
    const current = text.slice(0, at) + mark + tables();
    if (process.env.UPDATE_GOLDEN) await writeFile(page, current);
    else assert.equal(text, current);
  });
});
