/** The result of opening a URL, in words that fit libpq and the store. */
import { parseConnectionUrl } from "../../../src/database/connection_target.ts";
import { connectSession } from "../../../src/database/driver.ts";
import { toStorageError } from "../../../src/database/failures.ts";
import { askPsql } from "../psql.ts";

/**
 * The role, the database and the encryption of a session, such as
 * `by_scram@postgres, TLS`, and the value of a setting if a case names one. Or
 * what was refused: `refused: URL` (before anything was sent), `refused:
 * encryption`, `refused: login`, or `refused: server` (no server fits).
 */
export type UrlOutcome = string;

function question(setting: string | undefined): string {
  const value = setting === undefined
    ? ""
    : `|| ', ${setting}=' || current_setting('${setting}')`;
  return `SELECT current_user || '@' || current_database() ||
      CASE WHEN ssl THEN ', TLS' ELSE ', clear' END ${value}
    FROM pg_stat_ssl WHERE pid = pg_backend_pid()`;
}

/** What psql's errors are about; the first match counts. */
const complaints: readonly [pattern: RegExp, about: string][] = [
  [/requires a valid client certificate/, "login"],
  [/GSSAPI encryption required/, "encryption"],
  [
    /does not support SSL|SSL error|certificate|private key|SSL connection/i,
    "encryption",
  ],
  [/invalid value for parameter|unrecognized configuration/, "login"],
  [/no password supplied|authentication|pg_hba\.conf/, "login"],
  [/channel binding|(role|database) .* does not exist/, "login"],
  [
    /is (not )?read-only|hot standby|translate host name|refused|No such file/,
    "server",
  ],
  [/invalid|forbidden|missing|extra key|end of string|unexpected/, "URL"],
  [/could not match|weak sslmode|service/, "URL"],
];

/** libpq's result, from psql with an empty home folder. */
export async function libpqOutcome(
  url: string,
  { setting, home }: { setting: string | undefined; home: string },
): Promise<UrlOutcome> {
  const answer = await askPsql(url, question(setting), home);
  if ("row" in answer) return answer.row;
  const [, about] = complaints.find(([said]) => said.test(answer.error)) ?? [];
  return about === undefined ? answer.error : `refused: ${about}`;
}

/** What our errors are about, by their reasons. */
const reasons: Readonly<Record<string, string>> = {
  bad_url: "URL",
  tls_unavailable: "encryption",
  tls_failed: "encryption",
  bad_certificate: "encryption",
  authentication_unsupported: "login",
  authentication_refused: "login",
  login_incomplete: "login",
  login_refused: "login",
  connection_failed: "server",
};

/** Our result for the same URL. */
export async function ourOutcome(
  url: string,
  { setting }: { setting: string | undefined },
): Promise<UrlOutcome> {
  try {
    await using session = await connectSession(parseConnectionUrl(url), {}, {
      preparedStatements: false,
      answerTimeoutMs: 10_000,
    });
    const [row] = await session.script(question(setting));
    return row![0]!;
  } catch (error) {
    const { code, details, message } = toStorageError(error);
    const about = reasons[String(details.reason)];
    if (about === undefined) return message;
    const expected = about === "server" ? "UNAVAILABLE" : "BAD_CONFIG";
    return code === expected ? `refused: ${about}` : code;
  }
}
