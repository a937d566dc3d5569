/**
 * Another user's operators can't answer the fence, on a real server.
 * database/search_path_test.ts is about all other statements.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { describe, it } from "node:test";
import { fenceStatement, notOwnerReason } from "../../src/database/fence.ts";
import { rejectionOf } from "../../src/database/rejection.ts";
import { searchPath } from "../../src/database/search_path.ts";
import { bind } from "../../src/database/statement.ts";
import { queryOnce, testDatabaseUrl } from "../support/database.ts";
import { testSession } from "../support/sessions.ts";

describe("The fence", () => {
  it("does not use another user's operator that is always true", async () => {
    const name = `told_${randomUUID().replaceAll("-", "").slice(0, 12)}`;
    const server = await testDatabaseUrl();
    const url = new URL(server);
    url.pathname = name;
    await queryOnce(server, `CREATE DATABASE ${name}`);
    try {
      await queryOnce(
        url.href,
        `CREATE FUNCTION public.yes(varchar, varchar) RETURNS bool
           LANGUAGE sql AS 'SELECT true';
         CREATE FUNCTION public.no(bool[], bool[]) RETURNS bool
           LANGUAGE sql AS 'SELECT false';
         CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = varchar,
           FUNCTION = public.yes);
         CREATE OPERATOR public.<> (LEFTARG = bool[], RIGHTARG = bool[],
           FUNCTION = public.no);
         CREATE TABLE public.owners (uuid varchar,
           storage_connection_time timestamp, info varchar);
         INSERT INTO public.owners VALUES ('another', '2020-01-01', '')`,
      );
      for (const settings of [{}, { search_path: searchPath }]) {
        await using session = await testSession({ url: url.href, settings });
        const fence = bind(fenceStatement("public.owners"), "we", 0n);
        await assert.rejects(
          session.run([fence]),
          (error) => rejectionOf(error)?.reason === notOwnerReason,
        );
      }
    } finally {
      await queryOnce(server, `DROP DATABASE ${name} WITH (FORCE)`);
    }
  });
});
