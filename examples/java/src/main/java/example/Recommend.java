package example;

import io.grpc.CallCredentials;
import io.grpc.Deadline;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import marquee.notify.v1.NotificationServiceGrpc;
import marquee.notify.v1.NotificationServiceOuterClass.Notification;
import marquee.notify.v1.NotificationServiceOuterClass.SubscribeRequest;
import marquee.notify.v1.NotificationServiceOuterClass.SubscribeResponse;
import marquee.reco.v1.CatalogServiceGrpc;
import marquee.reco.v1.CatalogServiceOuterClass.ListMoviesRequest;
import marquee.reco.v1.InteractionServiceGrpc;
import marquee.reco.v1.InteractionServiceOuterClass.Interaction;
import marquee.reco.v1.InteractionServiceOuterClass.InteractionResult;
import marquee.reco.v1.InteractionServiceOuterClass.InteractionType;
import marquee.reco.v1.InteractionServiceOuterClass.RecordInteractionsRequest;
import marquee.reco.v1.MovieOuterClass.Movie;
import marquee.reco.v1.RecommendationServiceGrpc;
import marquee.reco.v1.RecommendationServiceOuterClass.RecommendRequest;
import marquee.reco.v1.RecommendationServiceOuterClass.Recommendation;
import marquee.user.v1.UserOuterClass.User;
import marquee.user.v1.UserServiceGrpc;
import marquee.user.v1.UserServiceOuterClass.CreateUserRequest;

/**
 * Calls Marquee: creates a user, records two likes, asks what to watch and why, and reads an error.
 * With {@code --follow SECONDS} it also waits for what the mesh tells the user.
 *
 * <p>MARQUEE_EDGE (host:port), MARQUEE_TOKEN and MARQUEE_USER say where and as whom;
 * MARQUEE_CA_FILE names the authority of the edge's certificate. It may be run again: nothing
 * happens twice.
 */
public final class Recommend {
  private final ManagedChannel channel;
  private final CallCredentials token;
  private final String user;

  private Recommend(ManagedChannel channel, CallCredentials token, String user) {
    this.channel = channel;
    this.token = token;
    this.user = user;
  }

  /** The command line. */
  public static void main(String[] arguments) throws Exception {
    int follow =
        arguments.length == 2 && arguments[0].equals("--follow") ? Integer.parseInt(arguments[1]) : 0;
    Map<String, String> environment = System.getenv();
    String user = environment.getOrDefault("MARQUEE_USER", "ada");
    String token = environment.get("MARQUEE_TOKEN");
    if (token == null) {
      System.err.printf("set MARQUEE_TOKEN, for example to $(marquee token --user %s)%n", user);
      System.exit(1);
    }
    ManagedChannel channel =
        Connection.open(
            environment.getOrDefault("MARQUEE_EDGE", "127.0.0.1:8080"),
            environment.get("MARQUEE_CA_FILE"));
    try {
      new Recommend(channel, Connection.bearer(token), user).run(follow);
    } catch (StatusRuntimeException error) {
      System.err.println("recommend: " + Errors.readable(error));
      System.exit(1);
    } finally {
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  private void run(int follow) throws InterruptedException {
    createUser();
    LiveStream stream = follow > 0 ? subscribe(follow) : null;
    likeTwoMovies();
    recommend();
    readAnError();
    if (stream != null) {
      stream.printFirst(follow);
    }
  }

  /** A call without a deadline would wait for as long as the contract allows. */
  private static Deadline within(int seconds) {
    return Deadline.after(seconds, TimeUnit.SECONDS);
  }

  private void createUser() {
    CreateUserRequest request =
        CreateUserRequest.newBuilder()
            .setUser(User.newBuilder().setId(user).setDisplayName("Ada"))
            .setRequestId("example-" + user) // makes it harmless to ask again
            .build();
    User stored =
        UserServiceGrpc.newBlockingStub(channel)
            .withCallCredentials(token)
            .withDeadline(within(10))
            .createUser(request)
            .getUser();
    System.out.printf("user %s: %s%n", stored.getId(), stored.getDisplayName());
  }

  private void likeTwoMovies() {
    List<Movie> movies =
        CatalogServiceGrpc.newBlockingStub(channel)
            .withCallCredentials(token)
            .withDeadline(within(10))
            .listMovies(ListMoviesRequest.newBuilder().setPageSize(2).build())
            .getMoviesList();
    RecordInteractionsRequest.Builder likes = RecordInteractionsRequest.newBuilder();
    for (Movie movie : movies) {
      likes.addInteractions(
          Interaction.newBuilder()
              // Recorded once, however often it is sent.
              .setEventId(user + "-likes-" + movie.getId())
              .setUserId(user)
              .setMovieId(movie.getId())
              .setType(InteractionType.INTERACTION_TYPE_LIKE));
    }
    List<InteractionResult> results =
        InteractionServiceGrpc.newBlockingStub(channel)
            .withCallCredentials(token)
            .withDeadline(within(15))
            .recordInteractions(likes.build())
            .getResultsList();
    for (int row = 0; row < results.size(); row++) {
      InteractionResult result = results.get(row);
      String what = result.getStatus().name().replace("INTERACTION_STATUS_", "");
      System.out.printf("likes %s: %s %s%n", movies.get(row).getTitle(), what, result.getMessage());
    }
  }

  private RecommendationServiceGrpc.RecommendationServiceBlockingStub recommendations() {
    return RecommendationServiceGrpc.newBlockingStub(channel)
        .withCallCredentials(token)
        .withDeadline(within(10));
  }

  private void recommend() {
    RecommendRequest request =
        RecommendRequest.newBuilder().setUserId(user).setLimit(5).setExplain(true).build();
    List<String[]> rows = new ArrayList<>();
    rows.add(new String[] {"score", "source", "movie", "because of"});
    for (Recommendation found : recommendations().recommend(request).getRecommendationsList()) {
      rows.add(
          new String[] {
            String.format(Locale.ROOT, "%.3f", found.getScore()),
            found.getSource().name().replace("SOURCE_", ""),
            found.getMovie().getTitle(),
            found.getContributionsList().stream()
                .map(part -> String.format(Locale.ROOT, "%s %+.2f", part.getTitle(), part.getValue()))
                .collect(Collectors.joining(", "))
          });
    }
    print(rows);
  }

  private static void print(List<String[]> rows) {
    int[] widths = new int[rows.get(0).length];
    for (String[] row : rows) {
      for (int column = 0; column < widths.length; column++) {
        widths[column] = Math.max(widths[column], row[column].length());
      }
    }
    for (String[] row : rows) {
      StringBuilder line = new StringBuilder();
      for (int column = 0; column < widths.length; column++) {
        line.append(row[column]).append(" ".repeat(widths[column] - row[column].length() + 2));
      }
      System.out.println(line.toString().stripTrailing());
    }
  }

  /** Asks for more than there is and shows what programs can read in the refusal. */
  private void readAnError() {
    RecommendRequest request =
        RecommendRequest.newBuilder().setUserId(user).setLimit(100_000).build();
    try {
      recommendations().recommend(request);
    } catch (StatusRuntimeException error) {
      System.out.println("refused: " + Errors.readable(error));
      return;
    }
    throw new IllegalStateException("100,000 movies were not refused");
  }

  /** Returns once the stream is alive: what happens from then on is told. */
  private LiveStream subscribe(int follow) throws InterruptedException {
    LiveStream stream = new LiveStream();
    NotificationServiceGrpc.newStub(channel)
        .withCallCredentials(token)
        .withDeadline(within(follow + 30))
        .subscribe(SubscribeRequest.newBuilder().setUserId(user).build(), stream);
    stream.next(10); // the first message is a heartbeat
    return stream;
  }

  /** A subscription to a user's notifications. */
  private static final class LiveStream
      implements ClientResponseObserver<SubscribeRequest, SubscribeResponse> {
    private final BlockingQueue<Object> arrived = new LinkedBlockingQueue<>();
    private ClientCallStreamObserver<SubscribeRequest> call;

    /**
     * Waits for a notification. A program that must miss none keeps the cursor of each message and,
     * whenever the stream ends, subscribes again with the last one.
     */
    void printFirst(int seconds) throws InterruptedException {
      Notification notification = null;
      SubscribeResponse message;
      while (notification == null && (message = next(seconds)) != null) {
        notification = message.hasNotification() ? message.getNotification() : null;
      }
      call.cancel("seen enough", null);
      if (notification == null) {
        System.out.printf("no notification within %d s%n", seconds);
      } else {
        System.out.printf("notification %d: %s%n", notification.getSequence(), notification.getTitle());
      }
    }

    SubscribeResponse next(int seconds) throws InterruptedException {
      Object next = arrived.poll(seconds, TimeUnit.SECONDS);
      if (next instanceof StatusRuntimeException error) {
        throw error;
      }
      return (SubscribeResponse) next;
    }

    @Override
    public void beforeStart(ClientCallStreamObserver<SubscribeRequest> observed) {
      call = observed;
    }

    @Override
    public void onNext(SubscribeResponse message) {
      arrived.add(message);
    }

    @Override
    public void onError(Throwable error) {
      arrived.add(error);
    }

    @Override
    public void onCompleted() {
      arrived.add(io.grpc.Status.UNAVAILABLE.withDescription("the stream has ended").asRuntimeException());
    }
  }
}
