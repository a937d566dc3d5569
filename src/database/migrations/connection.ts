/** The connection that migrations need: one session, not a pool. */
export interface MigrationConnection {
  /**
   * Runs one or several statements by the simple query protocol, in one round
   * trip. Returns the rows of the last statement that returned any, every
   * value as text or null. After an error inside `BEGIN` the transaction stays
   * open and failed, as the server leaves it.
   */
  script(sql: string): Promise<(string | null)[][]>;
}
