/**
 * Another user's operators can't answer the fence, on a real server.
 * database/search_path_test.ts is about all other statements.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fenceStatement, notOwnerReason } from "../../src/database/fence.ts";
import { rejectionOf } from "../../src/database/rejection.ts";
import { searchPath } from "../../src/database/search_path.ts";
import { bind } from "../../src/database/statement.ts";
import { createTestDatabase, queryOnce } from "../support/database.ts";
import { testSession } from "../support/sessions.ts";

describe("The fence", () => {
  it("does not use another user's operator that is always true", async () => {
    await using database = await createTestDatabase();
    await queryOnce(
      database.url,
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
      await using session = await testSession({ url: database.url, settings });
      const fence = bind(fenceStatement("public.owners"), "we", 0n);
      await assert.rejects(
        session.run([fence]),
        (error) => rejectionOf(error)?.reason === notOwnerReason,
      );
    }
  });
});
