/**
 * A survey asks all hosts of a URL at once, here a real server and proxies that
 * refuse or are silent: src/database/host_survey.ts.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type ConnectionTarget,
  parseConnectionUrl,
} from "../../src/database/connection_target.ts";
import { CurrentServer } from "../../src/database/current_server.ts";
import { HostSurvey } from "../../src/database/host_survey.ts";
import { ConnectionLostError } from "../../src/database/pg_error.ts";
import { StreamStorageError } from "../../src/storage/errors.ts";
import { testDatabaseUrl } from "../support/database.ts";
import { startProxy } from "../support/network/proxy.ts";

const behaviour = {
  preparedStatements: false,
  answerTimeoutMs: 10_000,
};

async function surveyOf(urls: readonly string[], takesWrites = true) {
  const real = parseConnectionUrl(await testDatabaseUrl());
  const hosts = urls.flatMap((url) => parseConnectionUrl(url).hosts);
  // The proxy can't read messages that are encrypted.
  const ssl = { mode: "disable" } as const;
  const sessionAttrs = takesWrites ? "read-write" : "any";
  const target: ConnectionTarget = { ...real, hosts, sessionAttrs, ssl };
  const server = new CurrentServer();
  return { server, survey: new HostSurvey(target, behaviour, server) };
}

const passing = () =>
  new StreamStorageError({ code: "UNAVAILABLE", message: "Gone" });
const once = { withinMs: 0 };
const patiently = { withinMs: 30_000 };

describe("A survey of hosts", () => {
  it("finds the host that answers among those that do not", async () => {
    const url = await testDatabaseUrl();
    await using refusing = await startProxy(url);
    refusing.refuse(true);
    await using silent = await startProxy(url);
    silent.silence(true);
    const urls = [refusing.url, silent.url, url];
    const { server, survey } = await surveyOf(urls);
    assert.equal(await survey.ask(), true);
    assert.ok(server.timeline !== undefined);
    const [found] = server.ordered(
      urls.flatMap((each) => parseConnectionUrl(each).hosts),
    );
    assert.deepEqual(found, parseConnectionUrl(url).hosts[0]);
  });

  it("is needed only if the store writes and has several hosts", async () => {
    const url = await testDatabaseUrl();
    const cases = [
      { urls: [url], takesWrites: true, isNeeded: false },
      { urls: [url, url], takesWrites: false, isNeeded: false },
      { urls: [url, url], takesWrites: true, isNeeded: true },
    ];
    for (const { urls, takesWrites, isNeeded } of cases) {
      const { survey } = await surveyOf(urls, takesWrites);
      assert.equal(survey.isNeeded, isNeeded);
    }
  });

  it("ends if the hosts are servers of a cluster", async () => {
    const url = await testDatabaseUrl();
    await using proxy = await startProxy(url);
    proxy.refuse(true);
    const { survey } = await surveyOf([proxy.url, proxy.url]);
    // An opening finds this out while it waits for a host.
    const reached = survey.reach(patiently, () => Promise.resolve("reached"));
    survey.end();
    assert.equal(survey.isNeeded, false);
    assert.equal(await reached, "reached");
  });

  it("waits for a host that takes writes, but not for ever", async () => {
    const url = await testDatabaseUrl();
    await using proxy = await startProxy(url);
    proxy.refuse(true);
    const { survey } = await surveyOf([proxy.url, proxy.url]);
    const body = () => Promise.resolve("reached");
    await assert.rejects(survey.reach(once, body), ConnectionLostError);
    const reached = survey.reach(patiently, body);
    const before = proxy.counts.attempts;
    while (proxy.counts.attempts === before) await survey.ask();
    proxy.refuse(false);
    assert.equal(await reached, "reached");
    const signal = AbortSignal.abort(new Error("enough"));
    await assert.rejects(
      survey.reach({ ...patiently, signal }, body),
      signal.reason,
    );
  });

  it("repeats an opening that lost its server, but no other failure", async () => {
    const url = await testDatabaseUrl();
    const { survey } = await surveyOf([url, url]);
    let tries = 0;
    const second = await survey.reach(patiently, () => {
      tries++;
      return tries < 2 ? Promise.reject(passing()) : Promise.resolve(tries);
    });
    assert.equal(second, 2);
    const final = new StreamStorageError({ code: "BAD_CONFIG", message: "x" });
    await assert.rejects(
      survey.reach(patiently, () => Promise.reject(final)),
      (error) => error === final,
    );
    await assert.rejects(
      survey.reach(once, () => Promise.reject(passing())),
      (error) => error instanceof StreamStorageError,
    );
  });
});
