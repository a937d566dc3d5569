/**
 * Connection URLs, with the answers of libpq and of the store.
 * tests/login/libpq_test.ts asks both, and docs/connection_url.md shows them.
 *
 * The server at port 5432 has TLS. It accepts each role by the method in the
 * role's name, with the password `geheim`. The server at port 5433 has no TLS.
 * No server listens at port 1.
 */
import type { UrlOutcome } from "./url_outcome.ts";

/** A URL, and the result of opening it. */
export interface UrlCase {
  url: string;
  libpq: UrlOutcome;
  /** The store's answer where it differs, and why it does. */
  ours?: UrlOutcome;
  why?: string;
  /** The first major version of libpq that gives this answer. */
  since?: number;
  /** A setting that the answer includes. */
  setting?: string;
}

/** The URL to which a case that begins with `?` is added. */
export const usual = "postgresql://by_scram:geheim@localhost:5432/postgres";

const asTls = "by_scram@postgres, TLS";
const asClear = "by_scram@postgres, clear";
const badUrl = "refused: URL";
const badLogin = "refused: login";
const badEncryption = "refused: encryption";
const badServer = "refused: server";

function all(outcome: UrlOutcome, urls: readonly string[]): UrlCase[] {
  return urls.map((url) => ({ url, libpq: outcome }));
}

/** URLs to which libpq and the store give the same answer. */
export const sameCases: Readonly<Record<string, readonly UrlCase[]>> = {
  "User, password, hosts and database": [
    ...all(asTls, [
      usual,
      usual.replace("postgresql:", "postgres:"),
      "postgresql://by_scram:geheim@127.0.0.1:5432/postgres",
      "postgresql://by_scram:geheim@[127.0.0.1]:5432/postgres",
      "postgresql://by_scram:geheim@/postgres?host=localhost&port=5432",
      "postgresql:///postgres?host=localhost&port=5432&user=by_scram&password=geheim",
      "postgresql://nobody@localhost:1/nowhere?user=by_scram&password=geheim&port=5432&dbname=postgres",
      "postgresql://by_scram:geheim@localhost:1,localhost:5432/postgres",
      "postgresql://by_scram:geheim@localhost,127.0.0.1/postgres?port=5432",
      "postgresql://by_scram:geheim@localhost,127.0.0.1/postgres?port=1,5432",
      "postgresql://by_scram:geheim@localhost:/postgres?port=5432",
    ]),
    {
      url: "postgresql://by_scram:geheim@localhost:5432/template1",
      libpq: "by_scram@template1, TLS",
    },
    { url: "?user=by_trust", libpq: "by_trust@postgres, TLS" },
    ...all(badLogin, [
      "postgresql://by_scram@localhost:5432/postgres",
      "postgresql://by_scram:@localhost:5432/postgres",
      "postgresql://by_scram:falsch@localhost:5432/postgres",
      "postgresql://by_scram:geheim@localhost:5432",
      "postgresql://by_scram:geheim@localhost:5432/nowhere",
      "postgresql://refused:geheim@localhost:5432/postgres",
    ]),
    ...all(badServer, [
      "postgresql://by_scram:geheim@localhost:1/postgres",
      "postgresql://by_scram:geheim@[::1]:1/postgres",
    ]),
    ...all(badUrl, [
      "postgresql://by_scram:geheim@[::1/postgres",
      "postgresql://by_scram:geheim@[::1]x/postgres",
      "postgresql://by_scram:geheim@localhost/postgres?port=5432,5432",
      "postgresql://by_scram:geheim@localhost:5432x/postgres",
      "postgresql://by_scram:geheim@localhost:0/postgres",
      "postgresql://by_scram:geheim@localhost:99999/postgres",
    ]),
  ],
  Sockets: [
    ...all(asClear, [
      "postgresql://by_scram:geheim@%2Fsockets%2Fp%3Ar%3Ai:5432/postgres",
      "postgresql://by_scram:geheim@/postgres?host=/sockets/p:r:i&port=5432",
      "postgresql://by_scram:geheim@/postgres?host=/sockets/p:r:i&port=5432&sslmode=require",
    ]),
    ...all(badServer, [
      "postgresql://by_scram:geheim@/postgres?host=/nowhere&port=5432",
    ]),
  ],
  Encoding: [
    ...all(asTls, [
      "postgresql://by%5Fscram:ge%68eim@localhost:5432/post%67res",
    ]),
    {
      url: "?application_name=a+b%26c%3D%C3%A9",
      libpq: `${asTls}, application_name=a+b&c=\\xc3\\xa9`,
      setting: "application_name",
    },
    ...all(badLogin, [
      "postgresql://by_scram:ge+heim@localhost:5432/postgres",
      "postgresql://by_scram:geh:eim@localhost:5432/postgres",
      "postgresql://by_scram:geh?eim@localhost:5432/postgres",
      "postgresql://by_scram:geheim@localhost:5432/postgres#x",
    ]),
    ...all(badUrl, [
      "postgresql://by_scram:geheim%@localhost:5432/postgres",
      "postgresql://by_scram:geheim%zz@localhost:5432/postgres",
      "postgresql://by_scram:geheim%00@localhost:5432/postgres",
      "postgresql://by_scram:geh/eim@localhost:5432/postgres",
    ]),
  ],
  Parameters: [
    ...all(asTls, [
      "?",
      "?sslmode=require&",
      "?application_name=",
      "?options=",
      "?sslrootcert=",
      "?connect_timeout=10",
      "?keepalives=0",
      "?keepalives_idle=30",
      "?gssencmode=disable",
      "?gssencmode=prefer",
      "?target_session_attrs=any",
      "?target_session_attrs=read-write",
      "?target_session_attrs=primary",
      "?target_session_attrs=prefer-standby",
    ]),
    {
      url: "?options=-c%20work_mem%3D5MB",
      libpq: `${asTls}, work_mem=5MB`,
      setting: "work_mem",
    },
    ...all(badServer, [
      "?target_session_attrs=standby",
      "?target_session_attrs=read-write&options=-c%20default_transaction_read_only%3Don",
    ]),
    ...all(badLogin, ["?options=-c%20nonsense%3D5MB"]),
    ...all(badUrl, [
      "?&",
      "?sslmode",
      "?sslmode=require=x",
      "?connect_timeout=",
      "?connect_timeout=ten",
      "?keepalives=yes",
      "?target_session_attrs=master",
    ]),
  ],
  Encryption: [
    ...all(asClear, [
      "?sslmode=disable",
      "?sslmode=disable&sslrootcert=/certs/missing.crt",
    ]),
    ...all(asTls, [
      "?sslmode=prefer",
      "?sslmode=require",
      "?ssl=true",
      "?sslmode=disable&sslmode=require",
      "?sslmode=verify-ca&sslrootcert=/certs/ca.crt",
      "?sslmode=verify-full&sslrootcert=/certs/ca.crt",
      "?sslmode=require&sslrootcert=/certs/ca.crt",
      "postgresql://by_scram:geheim@127.0.0.1:5432/postgres?sslmode=verify-ca&sslrootcert=/certs/ca.crt",
    ]),
    {
      url: "?sslnegotiation=direct&sslmode=require",
      libpq: asTls,
      since: 17,
    },
    {
      url:
        "postgresql://by_cert@localhost:5432/postgres?sslmode=require&sslcert=/certs/client.crt&sslkey=/certs/client.key",
      libpq: "by_cert@postgres, TLS",
    },
    ...all("only_plain@postgres, clear", [
      "postgresql://only_plain@localhost:5432/postgres?sslmode=prefer",
      "postgresql://only_plain@localhost:5432/postgres?sslmode=allow",
    ]),
    ...all(badEncryption, [
      "?sslmode=verify-ca",
      "?sslmode=verify-ca&sslrootcert=/certs/missing.crt",
      "?sslmode=verify-ca&sslrootcert=/certs/client.key",
      "?sslmode=verify-ca&sslrootcert=/certs/other_ca.crt",
      "?sslmode=require&sslrootcert=/certs/other_ca.crt",
      "postgresql://by_scram:geheim@127.0.0.1:5432/postgres?sslmode=verify-full&sslrootcert=/certs/ca.crt",
      "postgresql://by_scram:geheim@localhost:5433/postgres?sslmode=require",
      "postgresql://by_scram:geheim@localhost:5433/postgres?ssl=true",
      "postgresql://by_cert@localhost:5432/postgres?sslmode=require&sslcert=/certs/server.crt&sslkey=/certs/client.key",
    ]),
    {
      url: "?sslrootcert=system",
      libpq: badEncryption,
      since: 16,
    },
    ...all(badLogin, [
      "postgresql://by_scram:geheim@localhost:5433/postgres?sslmode=prefer",
      "postgresql://only_plain@localhost:5432/postgres?sslmode=require",
      "postgresql://by_cert@localhost:5432/postgres?sslmode=require",
    ]),
    ...all(badUrl, [
      "?sslmode=",
      "?sslmode=verify_full",
      "?sslmod=verify-full",
      "?SSLMODE=require",
      "?ssl=1",
      "?sslnegotiation=direct&sslmode=prefer",
    ]),
    { url: "?sslrootcert=system&sslmode=require", libpq: badUrl, since: 16 },
  ],
  "What the server may ask for": [
    {
      url: "postgresql://by_password:geheim@localhost:5432/postgres",
      libpq: "by_password@postgres, TLS",
    },
    {
      url: "postgresql://by_md5:geheim@localhost:5432/postgres",
      libpq: "by_md5@postgres, TLS",
    },
    ...all(asTls, ["?channel_binding=require", "?channel_binding=disable"]),
    { url: "?require_auth=scram-sha-256", libpq: asTls, since: 16 },
    { url: "?require_auth=!password,!none", libpq: asTls, since: 16 },
    {
      url: "postgresql://by_trust@localhost:5432/postgres?require_auth=none",
      libpq: "by_trust@postgres, TLS",
      since: 16,
    },
    ...all(badLogin, [
      "?channel_binding=require&sslmode=disable",
      "postgresql://by_password:geheim@localhost:5432/postgres?channel_binding=require",
      "postgresql://by_trust@localhost:5432/postgres?channel_binding=require",
    ]),
    ...[
      "postgresql://by_password:geheim@localhost:5432/postgres?require_auth=scram-sha-256",
      "postgresql://by_trust@localhost:5432/postgres?require_auth=!none",
    ].map((url) => ({ url, libpq: badLogin, since: 16 })),
    ...all(badUrl, [
      "?channel_binding=",
      "?channel_binding=required",
      "?require_auth=scram",
    ]),
  ],
};

/** A parameter that libpq knows and the store refuses rather than ignores. */
function unknown(query: string, since?: number): UrlCase {
  return {
    url: query,
    libpq: asTls,
    ours: badUrl,
    why: "not supported; ignoring it could remove a protection",
    ...(since === undefined ? {} : { since }),
  };
}

/** URLs to which the store's answer differs. */
export const otherCases: readonly UrlCase[] = [
  {
    url: "postgresql://localhost:5432/postgres",
    libpq: badLogin,
    ours: badUrl,
    why: "the URL must name a user; libpq takes the name of the system's user",
  },
  {
    url: "postgresql://by_scram:geh@eim@localhost:5432/postgres",
    libpq: badServer,
    ours: badUrl,
    why: "libpq takes a part of the password for a host",
  },
  {
    url: "?sslmode=allow",
    libpq: asClear,
    ours: asTls,
    why: "the store tries TLS first, as with prefer",
  },
  {
    url: "?sslmode=prefer&sslrootcert=/certs/other_ca.crt",
    libpq: asClear,
    ours: asTls,
    why: "prefer does not insist on the certificate, so the session keeps TLS",
  },
  {
    url: "?sslmode=require&sslrootcert=/certs/missing.crt",
    libpq: asTls,
    ours: badEncryption,
    why: "a file that the URL names must exist where TLS is used",
  },
  {
    url:
      "postgresql://by_cert@localhost:5432/postgres?sslmode=require&sslcert=/certs/missing.crt&sslkey=/certs/client.key",
    libpq: badLogin,
    ours: badEncryption,
    why: "a file that the URL names must exist; libpq goes on without it",
  },
  {
    url:
      "postgresql://by_cert@localhost:5432/postgres?sslmode=require&sslcert=/certs/client.crt&sslkey=/certs/shared.key",
    libpq: badEncryption,
    ours: "by_cert@postgres, TLS",
    why:
      "other users may read the key, as they may in a secret that Kubernetes mounts",
  },
  {
    url:
      "postgresql://by_cert@localhost:5432/postgres?sslmode=require&sslcert=/certs/client.crt",
    libpq: badEncryption,
    ours: badUrl,
    why:
      "the certificate needs a key; the store says so before it sends anything",
  },
  {
    url: "?gssencmode=require",
    libpq: badEncryption,
    ours: badUrl,
    why: "the store has no GSSAPI, and says so before it sends anything",
  },
  {
    url: "?target_session_attrs=read-only",
    libpq: badServer,
    ours: badUrl,
    why: "a primary can be read-only, too; standby means a standby",
  },
  {
    url: "?connect_timeout=-1",
    libpq: asTls,
    ours: badUrl,
    why: "it means no limit, and the store never waits without one",
  },
  {
    url:
      "postgresql://by_scram@localhost:5432/postgres?passfile=/certs/missing",
    libpq: badLogin,
    ours: badUrl,
    why: "the store reads passwords from no file; use the option password",
  },
  unknown("?hostaddr=127.0.0.1"),
  unknown("?keepalives_count=3"),
  unknown("?tcp_user_timeout=1000"),
  unknown("?sslcrl=/certs/missing.crl"),
  unknown("?ssl_min_protocol_version=TLSv1.3"),
  unknown("?sslsni=0"),
  unknown("?sslpassword=x"),
  unknown("?requirepeer=postgres"),
  unknown("?client_encoding=LATIN1"),
  unknown("?fallback_application_name=x"),
  unknown("?load_balance_hosts=random", 16),
];
