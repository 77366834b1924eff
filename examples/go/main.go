// Recommend calls Marquee: it creates a user, records two likes, asks what to watch and why, and
// reads an error. With -follow it also waits for what the mesh tells the user.
//
// MARQUEE_EDGE (host:port), MARQUEE_TOKEN and MARQUEE_USER say where and as whom; MARQUEE_CA_FILE
// names the authority of the edge's certificate. It may be run again: nothing happens twice.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	notifyv1 "marquee.invalid/examples/go/gen/marquee/notify/v1"
	recov1 "marquee.invalid/examples/go/gen/marquee/reco/v1"
	userv1 "marquee.invalid/examples/go/gen/marquee/user/v1"
)

func main() {
	follow := flag.Duration("follow", 0, "how long to wait for a notification, for example 10s")
	flag.Parse()
	if err := run(*follow); err != nil {
		fmt.Fprintln(os.Stderr, "recommend:", readable(err))
		os.Exit(1)
	}
}

func run(follow time.Duration) error {
	edge := cmp.Or(os.Getenv("MARQUEE_EDGE"), "127.0.0.1:8080")
	user := cmp.Or(os.Getenv("MARQUEE_USER"), "ada")
	token := os.Getenv("MARQUEE_TOKEN")
	if token == "" {
		return fmt.Errorf("set MARQUEE_TOKEN, for example to $(marquee token --user %s)", user)
	}
	connection, err := connect(edge, token, os.Getenv("MARQUEE_CA_FILE"))
	if err != nil {
		return err
	}
	defer connection.Close()

	if err := createUser(connection, user); err != nil {
		return err
	}
	var stream *liveStream
	if follow > 0 {
		if stream, err = subscribe(connection, user, follow); err != nil {
			return err
		}
		defer stream.cancel()
	}
	if err := likeTwoMovies(connection, user); err != nil {
		return err
	}
	if err := recommend(connection, user); err != nil {
		return err
	}
	if err := readAnError(connection, user); err != nil {
		return err
	}
	if stream == nil {
		return nil
	}
	return stream.printFirst(follow)
}

// within gives a call its deadline; without one it would wait for as long as the contract allows.
func within(seconds int) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), time.Duration(seconds)*time.Second)
}

func createUser(connection *grpc.ClientConn, id string) error {
	ctx, cancel := within(10)
	defer cancel()
	// The request id makes it harmless to ask again.
	reply, err := userv1.NewUserServiceClient(connection).CreateUser(ctx, &userv1.CreateUserRequest{
		User:      &userv1.User{Id: id, DisplayName: "Ada"},
		RequestId: "example-" + id,
	})
	if err != nil {
		return err
	}
	fmt.Printf("user %s: %s\n", reply.User.Id, reply.User.DisplayName)
	return nil
}

func likeTwoMovies(connection *grpc.ClientConn, user string) error {
	ctx, cancel := within(15)
	defer cancel()
	catalog := recov1.NewCatalogServiceClient(connection)
	page, err := catalog.ListMovies(ctx, &recov1.ListMoviesRequest{PageSize: 2})
	if err != nil {
		return err
	}
	var likes []*recov1.Interaction
	for _, movie := range page.Movies {
		likes = append(likes, &recov1.Interaction{
			EventId: fmt.Sprintf("%s-likes-%s", user, movie.Id), // recorded once, however often it is sent
			UserId:  user,
			MovieId: movie.Id,
			Type:    recov1.InteractionType_INTERACTION_TYPE_LIKE,
		})
	}
	reply, err := recov1.NewInteractionServiceClient(connection).RecordInteractions(
		ctx, &recov1.RecordInteractionsRequest{Interactions: likes})
	if err != nil {
		return err
	}
	for row, result := range reply.Results {
		what := strings.TrimPrefix(result.Status.String(), "INTERACTION_STATUS_")
		fmt.Printf("likes %s: %s %s\n", page.Movies[row].Title, what, result.Message)
	}
	return nil
}

func recommend(connection *grpc.ClientConn, user string) error {
	ctx, cancel := within(10)
	defer cancel()
	reply, err := recov1.NewRecommendationServiceClient(connection).Recommend(ctx, &recov1.RecommendRequest{
		Subject: &recov1.RecommendRequest_UserId{UserId: user},
		Limit:   5,
		Explain: true,
	})
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "score\tsource\tmovie\tbecause of")
	for _, found := range reply.Recommendations {
		var because []string
		for _, part := range found.Contributions {
			because = append(because, fmt.Sprintf("%s %+.2f", part.Title, part.Value))
		}
		source := strings.TrimPrefix(found.Source.String(), "SOURCE_")
		fmt.Fprintf(table, "%.3f\t%s\t%s\t%s\n", found.Score, source, found.Movie.Title, strings.Join(because, ", "))
	}
	return table.Flush()
}

// readAnError asks for more than there is and shows what programs can read in the refusal.
func readAnError(connection *grpc.ClientConn, user string) error {
	ctx, cancel := within(10)
	defer cancel()
	_, err := recov1.NewRecommendationServiceClient(connection).Recommend(ctx, &recov1.RecommendRequest{
		Subject: &recov1.RecommendRequest_UserId{UserId: user},
		Limit:   100_000,
	})
	if err == nil {
		return fmt.Errorf("100,000 movies were not refused")
	}
	fmt.Println("refused:", readable(err))
	return nil
}

// readable says code, reason and wrong fields of an error in one line.
func readable(err error) string {
	failure, ok := status.FromError(err)
	if !ok {
		return err.Error()
	}
	said := []string{failure.Code().String() + ": " + failure.Message()}
	for _, detail := range failure.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			said = append(said, "reason "+detail.Reason+" of "+detail.Domain)
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				said = append(said, "field "+violation.Field+": "+violation.Description)
			}
		}
	}
	return strings.Join(said, "; ")
}

// liveStream is a subscription to a user's notifications.
type liveStream struct {
	messages notifyv1.NotificationService_SubscribeClient
	cancel   context.CancelFunc
}

// subscribe returns once the stream is alive: what happens from then on is told.
func subscribe(connection *grpc.ClientConn, user string, follow time.Duration) (*liveStream, error) {
	ctx, cancel := context.WithTimeout(context.Background(), follow+30*time.Second)
	messages, err := notifyv1.NewNotificationServiceClient(connection).Subscribe(
		ctx, &notifyv1.SubscribeRequest{UserId: user})
	if err == nil {
		_, err = messages.Recv() // the first message is a heartbeat
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &liveStream{messages, cancel}, nil
}

// printFirst waits for a notification. A program that must miss none keeps the cursor of each
// message and, whenever the stream ends, subscribes again with the last one.
func (s *liveStream) printFirst(patience time.Duration) error {
	timer := time.AfterFunc(patience, s.cancel)
	defer timer.Stop()
	for {
		message, err := s.messages.Recv()
		if err != nil && s.messages.Context().Err() != nil {
			fmt.Println("no notification within", patience)
			return nil
		}
		if err != nil {
			return err
		}
		if notification := message.GetNotification(); notification != nil {
			fmt.Printf("notification %d: %s\n", notification.Sequence, notification.Title)
			return nil
		}
	}
}
