package example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import java.util.ArrayList;
import java.util.List;

/** Reads what an error says of itself. */
final class Errors {
  private Errors() {}

  /** Says code, reason and wrong fields of an error in one line. */
  static String readable(Throwable error) {
    com.google.rpc.Status failure = StatusProto.fromThrowable(error);
    if (failure == null) {
      return String.valueOf(error.getMessage());
    }
    List<String> said = new ArrayList<>();
    said.add(Status.fromCodeValue(failure.getCode()).getCode() + ": " + failure.getMessage());
    try {
      for (Any detail : failure.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          ErrorInfo info = detail.unpack(ErrorInfo.class);
          said.add("reason " + info.getReason() + " of " + info.getDomain());
        } else if (detail.is(BadRequest.class)) {
          for (BadRequest.FieldViolation violation :
              detail.unpack(BadRequest.class).getFieldViolationsList()) {
            said.add("field " + violation.getField() + ": " + violation.getDescription());
          }
        }
      }
    } catch (InvalidProtocolBufferException unreadable) {
      said.add("details that cannot be read");
    }
    return String.join("; ", said);
  }
}
