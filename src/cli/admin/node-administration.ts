// What the commands of hosts with an agent ask for, wherever the server's state is: the interface beside its consumers.
import type { AuthId, UserId } from '../../schema/auth-id.ts';

/** Times are Unix seconds; what is not known is missing. */
export interface NodeView {
  readonly name: string;
  /** Only a server that runs knows it; `unknown` also before the agent has enrolled. */
  readonly status: 'online' | 'offline' | 'unknown';
  readonly authId?: string | undefined;
  readonly version?: string | undefined;
  readonly hostName?: string | undefined;
  readonly address?: string | undefined;
  readonly enrolled?: number | undefined;
  readonly lastContact?: number | undefined;
  readonly enrolmentExpires?: number | undefined;
  /** Orders that run or wait there. */
  readonly orders?: number | undefined;
}

export interface NodeEnrolment {
  readonly node: string;
  /** The token that its agent will have: rights can be given to it at once. */
  readonly tokenid: AuthId;
  /** Nothing can show it again. */
  readonly secret: string;
  /** Unix seconds. */
  readonly expire: number;
  /** Of the server's certificate; undefined where it is not known. */
  readonly fingerprint: string | undefined;
}

/** Each call throws `permission-denied`, `not-found`, `exists`, `bad-name` and the like. */
export interface NodeAdministration {
  list(): Promise<readonly NodeView[]>;
  get(name: string): Promise<NodeView>;
  add(wish: {
    readonly node: string;
    readonly user: UserId | undefined;
    readonly lifetimeSeconds: number | undefined;
    readonly renew: boolean;
  }): Promise<NodeEnrolment>;
  remove(name: string): Promise<void>;
}
