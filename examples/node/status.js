// google.rpc.Status and the details that Marquee sends, read from an error of grpc-js.
import protobuf from 'protobufjs';

const field = (id, type, more) => ({ id, type, ...more });
const rpc = protobuf.Root.fromJSON({
  nested: {
    Any: { fields: { typeUrl: field(1, 'string'), value: field(2, 'bytes') } },
    Status: { fields: { details: field(3, 'Any', { rule: 'repeated' }) } },
    ErrorInfo: {
      fields: {
        reason: field(1, 'string'),
        domain: field(2, 'string'),
        metadata: field(3, 'string', { keyType: 'string' }),
      },
    },
    BadRequest: {
      fields: { fieldViolations: field(1, 'FieldViolation', { rule: 'repeated' }) },
      nested: {
        FieldViolation: { fields: { field: field(1, 'string'), description: field(2, 'string') } },
      },
    },
  },
});

// Returns { info, violations } of a failed call; empty where it came without details.
export function details(error) {
  const found = { info: null, violations: [] };
  const [packed] = error.metadata?.get('grpc-status-details-bin') ?? [];
  if (!packed) return found;
  for (const { typeUrl, value } of rpc.lookupType('Status').decode(packed).details) {
    if (typeUrl === 'type.googleapis.com/google.rpc.ErrorInfo') {
      found.info = rpc.lookupType('ErrorInfo').decode(value);
    } else if (typeUrl === 'type.googleapis.com/google.rpc.BadRequest') {
      found.violations.push(...rpc.lookupType('BadRequest').decode(value).fieldViolations);
    }
  }
  return found;
}
