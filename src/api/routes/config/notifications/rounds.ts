// /config/notifications/check, /config/notifications/digest (ours alone): what the server does by the clock, done now.
import { Type } from 'typebox';
import { ALARM_TYPES } from '../../../../notify/alarms/alarm-rules.ts';
import { defineMethod } from '../../../method.ts';
import { MAY_CHANGE } from './common.ts';

const PATH = '/config/notifications';
const Alarm = Type.Object({
  type: Type.Enum([...ALARM_TYPES]),
  datastore: Type.String(),
  raised: Type.Integer({ description: 'Unix seconds.' }),
  text: Type.String(),
});

export const NOTIFICATION_ROUND_METHODS = [
  defineMethod({
    method: 'POST',
    path: `${PATH}/check`,
    description: 'Looks now what has not happened, tells what is new, and answers with the alarms that are raised.',
    access: MAY_CHANGE,
    parameters: Type.Object({}),
    returns: Type.Object({
      alarms: Type.Array(Alarm),
      unknown: Type.Array(Type.String(), {
        description: 'Datastores that could not be asked, or not about all groups.',
      }),
    }),
    handler: async ({ services }) => {
      const { alarms, unknown } = await services.rounds.checkAlarms();
      return { alarms: [...alarms], unknown: [...unknown] };
    },
  }),
  defineMethod({
    method: 'POST',
    path: `${PATH}/digest`,
    description: 'Sends the digest of the last hours now; answers with the targets that get it.',
    access: MAY_CHANGE,
    parameters: Type.Object({ hours: Type.Integer({ minimum: 1, maximum: 168, default: 24 }) }),
    returns: Type.Array(Type.String()),
    handler: ({ services }, { hours }) => [...services.rounds.sendDigest(hours)],
  }),
];
