/** A migrated schema with three roles that have the rights of printGrants. */
import { randomUUID } from "node:crypto";
import {
  dropSchema,
  migrate,
  printGrants,
} from "../../../src/database/migrations/mod.ts";
import { quoteIdentifier } from "../../../src/database/migrations/sql_text.ts";
import type { Session } from "../../../src/database/session.ts";
import { testDatabaseUrl } from "../database.ts";
import { openSession } from "../migration_connection.ts";

/** The name of a role. */
export type RoleName = "migrate" | "run" | "read";

const roleNames: RoleName[] = ["migrate", "run", "read"];

/** The schema, the roles, and their rights. */
export interface RolesFixture extends AsyncDisposable {
  schema: string;
  partitions: number;
  /** An administrator's session. */
  admin: Session;
  /** The script of printGrants. */
  grants: string;
  /** The quoted names of the roles. */
  names: Record<RoleName, string>;
  /** The roles' URLs. */
  urls: Record<RoleName, string>;
  /** Runs the script as psql does, statement by statement. */
  grant(session?: Session): Promise<void>;
}

/** Makes the roles, with names that would break out of wrong quotes. */
export async function makeRoles(): Promise<RolesFixture> {
  const url = await testDatabaseUrl();
  const admin = await openSession(url);
  const mark = randomUUID().replaceAll("-", "").slice(0, 12);
  const schema = `Roles "${mark}" of\n'$grants$'`;
  const password = randomUUID();
  const plain = Object.fromEntries(
    roleNames.map((role) => [role, `${role} "${mark}"\n'$grants$' \\ % Ä`]),
  ) as Record<RoleName, string>;
  const names = mapRoles((role) => quoteIdentifier(plain[role]));
  const grants = printGrants({
    schema,
    migrateRole: plain.migrate,
    runRole: plain.run,
    readRole: plain.read,
  });
  for (const role of roleNames) {
    await admin.script(
      `CREATE ROLE ${names[role]} LOGIN PASSWORD '${password}'`,
    );
  }
  const grant = async (session = admin) => {
    for (const section of grants.split("\n\n")) await session.script(section);
  };
  return {
    schema,
    partitions: 2,
    admin,
    grants,
    names,
    urls: mapRoles((role) => {
      const login = new URL(url);
      login.username = encodeURIComponent(plain[role]);
      login.password = password;
      return login.href;
    }),
    grant,
    [Symbol.asyncDispose]: async () => {
      await dropSchema(admin, schema);
      for (const role of roleNames) {
        await admin.script(`DROP OWNED BY ${names[role]}`);
        await admin.script(`DROP ROLE ${names[role]}`);
      }
      await admin.close();
    },
  };
}

/** Makes a new installation: grants, `migrate up`, grants again. */
export async function installRoles(): Promise<RolesFixture> {
  const roles = await makeRoles();
  await roles.grant();
  const session = await openSession(roles.urls.migrate);
  const { schema, partitions } = roles;
  await migrate(session, { schema, partitions });
  await session.close();
  await roles.grant();
  return roles;
}

function mapRoles<T>(of: (role: RoleName) => T): Record<RoleName, T> {
  return { migrate: of("migrate"), run: of("run"), read: of("read") };
}
