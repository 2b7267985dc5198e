// What is kept of nodes: those that were enrolled, and enrolments that wait for their agent. Interfaces beside their consumer.
import type { AuthId, UserId } from '../schema/auth-id.ts';

/** What an agent last said of itself. Times are Unix milliseconds. */
export interface NodeContact {
  /** Empty before it has said anything, as `bootId` is. */
  readonly version: string;
  readonly hostName: string;
  readonly bootId: string;
  readonly address: string;
  /** Written once a minute at most. */
  readonly lastContactMs: number;
}

/** A host whose agent has enrolled. */
export interface NodeRecord extends NodeContact {
  readonly name: string;
  /** The API token that its agent signs in with. */
  readonly authId: AuthId;
  /** Of the machine that enrolled: no other may come with its token. */
  readonly machineId: string;
  readonly enrolledMs: number;
}

export interface EnrolmentRecord {
  readonly node: string;
  /** The user that the agent acts as. */
  readonly userid: UserId;
  /** SHA-256 of the secret. */
  readonly secretHash: Uint8Array;
  readonly expireMs: number;
  /** Whose right to make tokens of the user counts, also when the enrolment is used. */
  readonly createdBy: AuthId;
}

export interface NodeStore {
  list(): readonly NodeRecord[];
  find(name: string): NodeRecord | undefined;
  /** Adds a node, or replaces it. */
  put(node: NodeRecord): void;
  /** Notes what the agent of a node said, and nothing for a node that is gone. No disk is waited for: the next contact says it again. */
  heard(name: string, contact: NodeContact): void;
  delete(name: string): void;
  enrolments(): readonly EnrolmentRecord[];
  enrolment(node: string): EnrolmentRecord | undefined;
  /** Adds an enrolment, or replaces it. */
  putEnrolment(enrolment: EnrolmentRecord): void;
  deleteEnrolment(node: string): void;
}
