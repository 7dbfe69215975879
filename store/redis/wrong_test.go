package redis_test

import (
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/streamspace-dev/streamspace-edge/store/redis"
	"github.com/streamspace-dev/streamspace-edge/store/redis/redistest"
)

func TestALogOfARedisThatIsOfNoUseNamesTheSetting(t *testing.T) {
	said := func(what string, o redis.Options, want string) {
		t.Helper()
		core, logs := observer.New(zapcore.WarnLevel)
		o = hasty(o)
		o.Log = zap.New(core)
		open(t, o)
		all := logs.All()
		if len(all) != 1 || !strings.Contains(all[0].Message, want) {
			t.Errorf("%s: logged %v; want one line with %q", what, all, want)
		}
		for _, l := range all {
			if err, _ := l.ContextMap()["error"].(string); strings.Contains(l.Message+err, "hunter2") {
				t.Errorf("%s: the log has the password: %s: %s", what, l.Message, err)
			}
		}
	}
	password := func(text string) func() (string, error) { return func() (string, error) { return text, nil } }

	s := redistest.Start(t)
	if err := s.Client().Do(t.Context(), "ACL", "SETUSER", "weak", "on", ">hunter2", "~*", "&*", "+@all", "-eval", "-evalsha").Err(); err != nil {
		t.Fatal(err)
	}
	wrong := options(t, s.Addr)
	wrong.Username, wrong.Password = "weak", password("hunter22")
	said("a wrong password", wrong, "redis.password_file")
	weak := options(t, s.Addr)
	weak.Username, weak.Password = "weak", password("hunter2")
	said("a user without scripts", weak, "forbids its user")

	sentinels := redistest.StartSentinels(t)
	other := options(t, sentinels.Addrs...)
	other.SentinelMaster = redistest.MasterName + "x"
	said("a master that nobody watches", other, "redis.sentinel_master")
}
